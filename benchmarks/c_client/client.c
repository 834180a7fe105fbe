#include "client.h"

#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* RabbitMQ's own default. */
#define FRAME_MAX 131072

amqp_connection_state_t connect_to(const char *url) {
    struct amqp_connection_info info;
    char *parsed = strdup(url);  /* the parts of `info` point into it */
    check_status(amqp_parse_url(parsed, &info), "the URL");
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    check_status(amqp_socket_open(socket, info.host, info.port), "connecting");
    check_reply(amqp_login(connection, info.vhost, 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN,
                           info.user, info.password),
                "logging in");
    amqp_channel_open(connection, CHANNEL);
    check_reply(amqp_get_rpc_reply(connection), "opening a channel");
    free(parsed);
    return connection;
}

void disconnect(amqp_connection_state_t connection) {
    check_reply(amqp_channel_close(connection, CHANNEL, AMQP_REPLY_SUCCESS), "closing the channel");
    check_reply(amqp_connection_close(connection, AMQP_REPLY_SUCCESS), "closing");
    check_status(amqp_destroy_connection(connection), "closing");
}

static double read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

stopwatch start_stopwatch(void) {
    stopwatch watch = {read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_PROCESS_CPUTIME_ID)};
    return watch;
}

void report(stopwatch watch, long count) {
    double seconds = read_clock(CLOCK_MONOTONIC) - watch.seconds;
    double cpu_seconds = read_clock(CLOCK_PROCESS_CPUTIME_ID) - watch.cpu_seconds;
    printf("{\"events\": %ld, \"seconds\": %.9f, \"cpu_seconds\": %.9f}\n", count, seconds,
           cpu_seconds);
}

long number_of(const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    if (*end != '\0' || number < 1) {
        fail(text, "not a whole number from 1");
    }
    return number;
}

void check_status(int status, const char *what) {
    if (status < 0) {
        fail(what, amqp_error_string2(status));
    }
}

void check_reply(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        fail(what, amqp_error_string2(reply.library_error));
    }
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
        fail(what, amqp_method_name(reply.reply.id));
    }
}

void fail(const char *what, const char *why) {
    fprintf(stderr, "C client: %s: %s\n", what, why);
    exit(1);
}
