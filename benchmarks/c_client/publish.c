/* The limit of publishing: a body again and again, persistent, mandatory and confirmed.

       publish URL EXCHANGE ROUTING_KEY COUNT WINDOW < BODY

   At most WINDOW messages are unconfirmed at a time. */

#include <stdio.h>

#include "client.h"

#define WARM_UP 100
#define MAX_BODY_BYTES 65536
#define PERSISTENT 2

typedef struct {
    amqp_connection_state_t connection;
    amqp_bytes_t exchange;
    amqp_bytes_t routing_key;
    amqp_bytes_t body;
    uint64_t published;
    uint64_t confirmed;
} publisher;

static void publish_one(publisher *self) {
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
        .delivery_mode = PERSISTENT,
        .content_type = amqp_cstring_bytes("application/json"),
    };
    check_status(amqp_basic_publish(self->connection, CHANNEL, self->exchange, self->routing_key,
                                    1, 0, &properties, self->body),
                 "publishing");
    self->published++;
}

/* Wait for one answer of the broker, which may confirm several messages. */
static void wait_for_confirm(publisher *self) {
    amqp_frame_t frame;
    check_status(amqp_simple_wait_frame(self->connection, &frame), "waiting for a confirm");
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
        fail("waiting for a confirm", "the broker refused or returned a message");
    }
    amqp_basic_ack_t *ack = frame.payload.method.decoded;
    self->confirmed = ack->multiple ? ack->delivery_tag : self->confirmed + 1;
    amqp_maybe_release_buffers(self->connection);
}

static void publish_all(publisher *self, long count, uint64_t window) {
    uint64_t last = self->published + (uint64_t)count;
    while (self->confirmed < last) {
        if (self->published < last && self->published - self->confirmed < window) {
            publish_one(self);
        } else {
            wait_for_confirm(self);
        }
    }
}

int main(int count, char **arguments) {
    static char body[MAX_BODY_BYTES];
    if (count != 6) {
        fail("usage", "publish URL EXCHANGE ROUTING_KEY COUNT WINDOW < BODY");
    }
    publisher self = {
        .connection = connect_to(arguments[1]),
        .exchange = amqp_cstring_bytes(arguments[2]),
        .routing_key = amqp_cstring_bytes(arguments[3]),
        .body = {fread(body, 1, sizeof body, stdin), body},
    };
    long events = number_of(arguments[4]);
    uint64_t window = (uint64_t)number_of(arguments[5]);
    amqp_confirm_select(self.connection, CHANNEL);
    check_reply(amqp_get_rpc_reply(self.connection), "asking for confirms");
    publish_all(&self, WARM_UP, window);
    stopwatch watch = start_stopwatch();
    publish_all(&self, events, window);
    report(watch, events);
    disconnect(self.connection);
    return 0;
}
