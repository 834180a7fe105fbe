/* The limit of consuming: each message is acknowledged by itself, and nothing is done with it.

       consume URL QUEUE COUNT PREFETCH

   It ends after COUNT messages. The time is that from the subscription until the broker has read
   the last acknowledgement. */

#include <stdio.h>
#include <unistd.h>

#include "client.h"

#define LINGER_MICROSECONDS 500000

static void set_prefetch(amqp_connection_state_t connection, long prefetch) {
    amqp_basic_qos(connection, CHANNEL, 0, (uint16_t)prefetch, 0);
    check_reply(amqp_get_rpc_reply(connection), "setting the prefetch");
}

static void subscribe(amqp_connection_state_t connection, const char *queue) {
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    check_reply(amqp_get_rpc_reply(connection), "subscribing");
}

static void consume_one(amqp_connection_state_t connection) {
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(connection);
    check_reply(amqp_consume_message(connection, &envelope, NULL, 0), "consuming");
    check_status(amqp_basic_ack(connection, CHANNEL, envelope.delivery_tag, 0), "acknowledging");
    amqp_destroy_envelope(&envelope);
}

int main(int count, char **arguments) {
    if (count != 5) {
        fail("usage", "consume URL QUEUE COUNT PREFETCH");
    }
    amqp_connection_state_t connection = connect_to(arguments[1]);
    long events = number_of(arguments[3]);
    long prefetch = number_of(arguments[4]);
    set_prefetch(connection, prefetch);
    stopwatch watch = start_stopwatch();
    subscribe(connection, arguments[2]);
    for (long consumed = 0; consumed < events; consumed++) {
        consume_one(connection);
    }
    set_prefetch(connection, prefetch);  /* answered after all that was sent before was read */
    report(watch, events);
    /* What a channel has read and not yet passed on to a quorum queue is lost when it closes. */
    usleep(LINGER_MICROSECONDS);
    disconnect(connection);
    return 0;
}
