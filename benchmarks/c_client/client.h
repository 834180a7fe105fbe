/* What the two programs share: a connection with one channel, a stopwatch, and ways to fail. */

#ifndef CLIENT_H
#define CLIENT_H

#include <amqp.h>

#define CHANNEL 1

typedef struct {
    double seconds;
    double cpu_seconds;
} stopwatch;

/* Connect to the broker of an AMQP URL, and open the channel. */
amqp_connection_state_t connect_to(const char *url);

/* Close the channel and the connection, which waits until the broker has read all before it. */
void disconnect(amqp_connection_state_t connection);

stopwatch start_stopwatch(void);

/* Print what `count` steps have taken as a line of JSON, as subjects do. */
void report(stopwatch watch, long count);

/* A whole number from 1, of the arguments. */
long number_of(const char *text);

/* End the program with a sentence unless a call has succeeded. */
void check_status(int status, const char *what);
void check_reply(amqp_rpc_reply_t reply, const char *what);
void fail(const char *what, const char *why);

#endif
