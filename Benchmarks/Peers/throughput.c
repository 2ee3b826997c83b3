// The yardstick of the benchmarks: one-way throughput on Proton-C's own pn_proactor. See usage below.
#include <proton/connection.h>
#include <proton/condition.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/listener.h>
#include <proton/message.h>
#include <proton/netaddr.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char usage[] =
    "throughput sender HOST:PORT ADDRESS COUNT SIZE\n"
    "throughput receiver HOST:PORT ADDRESS COUNT CREDIT\n"
    "throughput receiver --listen HOST:PORT COUNT CREDIT\n"
    "\n"
    "The sender sends COUNT messages with one application property, a timestamp, and SIZE bytes of\n"
    "binary data as body, unsettled; the receiver accepts them and keeps CREDIT messages of credit, topped\n"
    "up at half. Each message is built, encoded and decoded with pn_message. With --listen the receiver\n"
    "waits for the sender itself; its first line on stderr is `listening HOST:PORT`, and port 0 takes any.\n"
    "\n"
    "At the end one line of JSON on stdout: messages, seconds (sender: first send to last settlement;\n"
    "receiver: first message to last), messages_per_second, cpu_seconds (of the whole process, user and\n"
    "system), peak_resident_bytes. Exits with 1 when the connection ends early.\n";

typedef struct {
    bool sending, listening;
    const char *address;
    uint64_t count, sent, settled;
    int credit;
    pn_message_t *message;
    pn_bytes_t body;
    pn_rwbytes_t buffer;
    struct timespec first, last;
    pn_proactor_t *proactor;
    pn_listener_t *listener;
    bool failed;
} Peer;

static void grow(pn_rwbytes_t *buffer, size_t size) {
    if (size <= buffer->size) return;
    buffer->start = realloc(buffer->start, size);
    if (!buffer->start) abort();
    buffer->size = size;
}

static void fail(Peer *peer, const char *what, pn_condition_t *condition) {
    if (peer->settled >= peer->count) return;
    peer->failed = true;
    const char *name = condition ? pn_condition_get_name(condition) : NULL;
    const char *description = condition ? pn_condition_get_description(condition) : NULL;
    fprintf(stderr, "throughput: %s %s %s\n", what, name ? name : "", description ? description : "");
}

// The proactor frees a listener after it closed, so it is closed once.
static void stop_listening(Peer *peer) {
    if (peer->listener) pn_listener_close(peer->listener);
    peer->listener = NULL;
}

static void finish(Peer *peer, pn_connection_t *connection) {
    clock_gettime(CLOCK_MONOTONIC, &peer->last);
    pn_connection_close(connection);
    stop_listening(peer);
}

// The proactor writes to the socket only between batches of events. Without a bound on what one batch sends, one side
// waits while the other works: 0.48 instead of 0.88 million messages of 100 bytes a second.
enum { BURST = 64 };

// Sends what the link has credit for, a burst a batch. The message, its pn_data and the buffer are used again.
static void send_burst(Peer *peer, pn_link_t *link) {
    int credit = pn_link_credit(link);
    if (credit > BURST) {
        credit = BURST;
        pn_connection_wake(pn_session_connection(pn_link_session(link)));
    }
    if (credit > 0 && peer->sent == 0) clock_gettime(CLOCK_MONOTONIC, &peer->first);
    while (credit-- > 0 && peer->sent < peer->count) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        pn_data_t *properties = pn_message_properties(peer->message);
        pn_data_clear(properties);
        pn_data_put_map(properties);
        pn_data_enter(properties);
        pn_data_put_string(properties, pn_bytes(4, "sent"));
        pn_data_put_timestamp(properties, now.tv_sec * 1000 + now.tv_nsec / 1000000);
        pn_data_exit(properties);
        pn_data_t *body = pn_message_body(peer->message);
        pn_data_clear(body);
        pn_data_put_binary(body, peer->body);

        size_t size = peer->buffer.size;
        while (pn_message_encode(peer->message, peer->buffer.start, &size) == PN_OVERFLOW) {
            grow(&peer->buffer, peer->buffer.size * 2);
            size = peer->buffer.size;
        }
        uint64_t tag = peer->sent++;
        pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
        pn_link_send(link, peer->buffer.start, size);
        pn_link_advance(link);
    }
}

// Takes every complete message that the link holds: one event may stand for many.
static void receive_all(Peer *peer, pn_link_t *link) {
    pn_delivery_t *delivery;
    while (peer->settled < peer->count && (delivery = pn_link_current(link)) && pn_delivery_readable(delivery) &&
           !pn_delivery_partial(delivery)) {
        if (peer->settled == 0) clock_gettime(CLOCK_MONOTONIC, &peer->first);
        size_t pending = pn_delivery_pending(delivery);
        grow(&peer->buffer, pending);
        ssize_t size = pn_link_recv(link, peer->buffer.start, pending);
        pn_data_t *properties = pn_message_properties(peer->message);
        if (size < 0 || pn_message_decode(peer->message, peer->buffer.start, size) != 0) {
            fail(peer, "a message does not decode", NULL);
            pn_connection_close(pn_session_connection(pn_link_session(link)));
            return;
        }
        pn_data_rewind(properties);
        pn_data_next(properties);
        pn_data_enter(properties);
        pn_data_next(properties);
        pn_data_next(properties);
        pn_data_t *body = pn_message_body(peer->message);
        pn_data_rewind(body);
        pn_data_next(body);
        if (pn_data_get_timestamp(properties) == 0 || pn_data_get_binary(body).start == NULL) {
            fail(peer, "a message without its property or body", NULL);
            pn_connection_close(pn_session_connection(pn_link_session(link)));
            return;
        }
        pn_delivery_update(delivery, PN_ACCEPTED);
        pn_link_advance(link);
        pn_delivery_settle(delivery);
        peer->settled++;
    }
    if (peer->settled == peer->count) {
        if (peer->listener || !peer->listening) finish(peer, pn_session_connection(pn_link_session(link)));
        return;
    }
    if (pn_link_credit(link) <= peer->credit / 2) pn_link_flow(link, peer->credit - pn_link_credit(link));
}

static void handle(Peer *peer, pn_event_t *event) {
    pn_link_t *link = pn_event_link(event);
    pn_connection_t *connection = pn_event_connection(event);
    switch (pn_event_type(event)) {
    case PN_LISTENER_OPEN: {
        char address[256];
        pn_netaddr_str(pn_listener_addr(peer->listener), address, sizeof address);
        fprintf(stderr, "listening %s\n", address);
        break;
    }
    case PN_LISTENER_ACCEPT: pn_listener_accept2(pn_event_listener(event), NULL, NULL); break;
    case PN_LISTENER_CLOSE: fail(peer, "listener:", pn_listener_condition(pn_event_listener(event))); break;
    case PN_CONNECTION_INIT: {
        pn_connection_set_container(connection, "throughput");
        if (peer->listening) break;
        pn_connection_open(connection);
        pn_session_t *session = pn_session(connection);
        pn_session_open(session);
        link = peer->sending ? pn_sender(session, "throughput") : pn_receiver(session, "throughput");
        pn_terminus_set_address(peer->sending ? pn_link_target(link) : pn_link_source(link), peer->address);
        pn_link_open(link);
        if (!peer->sending) pn_link_flow(link, peer->credit);
        break;
    }
    case PN_CONNECTION_REMOTE_OPEN:
        if (pn_connection_state(connection) & PN_LOCAL_UNINIT) pn_connection_open(connection);
        break;
    case PN_SESSION_REMOTE_OPEN: pn_session_open(pn_event_session(event)); break;
    case PN_LINK_REMOTE_OPEN:
        if (!(pn_link_state(link) & PN_LOCAL_UNINIT)) break;
        pn_terminus_copy(pn_link_source(link), pn_link_remote_source(link));
        pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link));
        pn_link_open(link);
        pn_link_flow(link, peer->credit);
        break;
    case PN_CONNECTION_WAKE: send_burst(peer, pn_link_head(connection, 0)); break;
    case PN_LINK_FLOW:
        if (peer->sending) send_burst(peer, link);
        break;
    case PN_DELIVERY:
        if (!peer->sending) {
            receive_all(peer, link);
        } else if (pn_delivery_remote_state(pn_event_delivery(event))) {
            pn_delivery_settle(pn_event_delivery(event));
            if (++peer->settled == peer->count) finish(peer, connection);
        }
        break;
    case PN_LINK_REMOTE_CLOSE:
        fail(peer, "link detached:", pn_link_remote_condition(link));
        pn_connection_close(connection);
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        fail(peer, "connection closed:", pn_connection_remote_condition(connection));
        pn_connection_close(connection);
        break;
    case PN_TRANSPORT_CLOSED: {
        pn_condition_t *condition = pn_transport_condition(pn_event_transport(event));
        fail(peer, "connection lost:", condition);
        stop_listening(peer);
        break;
    }
    default: break;
    }
}

static void report(const Peer *peer) {
    double seconds = (double)(peer->last.tv_sec - peer->first.tv_sec) +
                     (double)(peer->last.tv_nsec - peer->first.tv_nsec) / 1e9;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.3f,\"messages_per_second\":%.0f,\"cpu_seconds\":%.3f,"
           "\"peak_resident_bytes\":%ld}\n",
           peer->settled, seconds, seconds > 0 ? (double)peer->settled / seconds : 0, cpu, used.ru_maxrss * 1024L);
}

int main(int argc, char **argv) {
    bool listening = argc == 6 && strcmp(argv[2], "--listen") == 0;
    bool sending = argc == 6 && strcmp(argv[1], "sender") == 0;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (argc != 6 || (!sending && strcmp(argv[1], "receiver") != 0) || (sending && listening)) {
        fputs(usage, stderr);
        return 1;
    }
    Peer peer = {.sending = sending, .listening = listening, .address = argv[3], .count = strtoull(argv[4], NULL, 10)};
    const char *where = listening ? argv[3] : argv[2];
    size_t last = strtoull(argv[5], NULL, 10);
    if (peer.count == 0 || (!sending && last == 0)) {
        fputs("throughput: COUNT and CREDIT must be above 0\n", stderr);
        return 1;
    }
    if (sending) {
        char *bytes = malloc(last + 1);
        memset(bytes, 'x', last);
        peer.body = pn_bytes(last, bytes);
    } else {
        peer.credit = (int)last;
    }
    grow(&peer.buffer, 4096);
    peer.message = pn_message();
    pn_message_set_inferred(peer.message, true);  // the body is a data section
    peer.proactor = pn_proactor();
    if (listening) {
        peer.listener = pn_listener();
        pn_proactor_listen(peer.proactor, peer.listener, where, 16);
    } else {
        pn_transport_t *transport = pn_transport();
        pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
        pn_proactor_connect2(peer.proactor, NULL, transport, where);
    }
    for (bool inactive = false; !inactive;) {
        pn_event_batch_t *batch = pn_proactor_wait(peer.proactor);
        for (pn_event_t *event; (event = pn_event_batch_next(batch));) {
            if (pn_event_type(event) == PN_PROACTOR_INACTIVE) inactive = true;
            else handle(&peer, event);
        }
        pn_proactor_done(peer.proactor, batch);
    }
    report(&peer);
    pn_proactor_free(peer.proactor);
    pn_message_free(peer.message);
    free(peer.buffer.start);
    free((void *)peer.body.start);
    return peer.failed ? 1 : 0;
}
