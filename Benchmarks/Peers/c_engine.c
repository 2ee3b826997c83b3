/* SPDX-License-Identifier: Apache-2.0 */

// The maximum of Proton's engine: pn_connection_driver on a socket, one encoded message sent repeatedly, nothing
// decoded. Only the commands receiver, sender and latency.
#define _GNU_SOURCE
#include "common.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The limits between two writes, in messages and in bytes: with more, one side waits while the other works; with less,
// system calls dominate. Then the sizes of reads and writes, and the largest frame.
enum { BURST = 128, OUTGOING = 256 * 1024, BLOCK = 256 * 1024, FRAME = 256 * 1024 };

typedef struct {
    const Options *options;
    bool sending, failed, finished;
    int socket;
    pn_connection_driver_t driver;
    pn_session_t *session;
    pn_link_t **links;
    unsigned turn;
    pn_rwbytes_t message;  // the message to send, or the memory for received messages
    size_t body_size;      // of the first message; 0 until it is known
    uint64_t sent, done;
    int64_t *started;  // indexed by the number of the message; its latency after the settlement
    Report report;
} Peer;

static void fail(Peer *peer, const char *what, const char *why) {
    if (peer->finished || peer->failed) return;
    peer->failed = true;
    complain(peer->options->program, "%s %s", what, why);
    pn_connection_close(peer->driver.connection);
}

static void fail_condition(Peer *peer, const char *what, pn_condition_t *condition) {
    const char *text = pn_condition_get_description(condition);
    fail(peer, what, text ? text : "no reason given");
}

static void finish(Peer *peer) {
    peer->finished = true;
    pn_connection_close(peer->driver.connection);
}

static void encode_message(Peer *peer) {
    size_t size = peer->options->size;
    char *bytes = allocate(size);
    memset(bytes, 'x', size);
    pn_message_t *message = pn_message();
    pn_message_set_inferred(message, true);  // the body is a data section
    pn_data_t *properties = pn_message_properties(message);
    pn_data_put_map(properties);
    pn_data_enter(properties);
    pn_data_put_string(properties, pn_bytes(4, "sent"));
    pn_data_put_timestamp(properties, wall_clock());
    pn_data_exit(properties);
    pn_data_put_binary(pn_message_body(message), pn_bytes(size, bytes));
    peer->message = pn_rwbytes(size + 256, allocate(size + 256));
    if (pn_message_encode(message, peer->message.start, &peer->message.size) != 0) abort();
    pn_message_free(message);
    free(bytes);
}

// Sending -------------------------------------------------------------------------------------------------------------

static bool can_send(Peer *peer) {
    const Options *options = peer->options;
    return peer->sending && peer->session && peer->sent < options->count && !peer->failed &&
           pn_link_credit(peer->links[peer->turn]) > 0 &&
           (options->command != LATENCY || peer->sent - peer->done < options->depth);
}

static void send_burst(Peer *peer) {
    int allowance = BURST;
    while (can_send(peer) && allowance-- > 0 && pn_session_outgoing_bytes(peer->session) < OUTGOING) {
        if (peer->sent == 0) peer->report.first = now();
        if (peer->started) peer->started[peer->sent] = now();
        pn_link_t *link = peer->links[peer->turn];
        uint64_t tag = peer->sent++;
        pn_delivery_t *delivery = pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
        if (peer->started) pn_delivery_set_context(delivery, &peer->started[tag]);
        pn_link_send(link, peer->message.start, peer->message.size);
        if (peer->options->settled) pn_delivery_settle(delivery);  // this also advances the link
        else pn_link_advance(link);
        if (++peer->turn == peer->options->links) peer->turn = 0;
    }
}

static void settle(Peer *peer, pn_delivery_t *delivery) {
    if (!pn_delivery_updated(delivery)) return;
    if (pn_delivery_remote_state(delivery) != PN_ACCEPTED) {
        fail(peer, "a message was not accepted:", pn_disposition_type_name(pn_delivery_remote_state(delivery)));
        return;
    }
    int64_t *started = peer->started ? pn_delivery_get_context(delivery) : NULL;
    if (started) *started = now() - *started;
    pn_delivery_settle(delivery);
    if (++peer->done < peer->options->count) return;
    peer->report.last = now();
    finish(peer);
}

// Receiving -----------------------------------------------------------------------------------------------------------

// Returns the length of the data section, from the first bytes of a message.
static size_t find_body_size(const char *bytes, size_t size) {
    const unsigned char *section = memmem(bytes, size, "\0Su", 3), *end = (const unsigned char *)bytes + size;
    if (!section || section + 8 > end) return 0;
    if (section[3] == 0xa0) return section[4];
    return (size_t)section[4] << 24 | (size_t)section[5] << 16 | (size_t)section[6] << 8 | section[7];
}

// Reads the bytes of the link, also of an incomplete message, so that its buffer stays small.
static void receive_all(Peer *peer, pn_link_t *link) {
    pn_delivery_t *delivery;
    while (!peer->finished && (delivery = pn_link_current(link)) && pn_delivery_readable(delivery)) {
        if (peer->report.first == 0) peer->report.first = now();
        ssize_t size = pn_link_recv(link, peer->message.start, peer->message.size);
        if (peer->body_size == 0 && size > 0) peer->body_size = find_body_size(peer->message.start, (size_t)size);
        if (pn_delivery_pending(delivery) > 0 && size > 0) continue;
        if (pn_delivery_partial(delivery)) break;
        pn_delivery_update(delivery, PN_ACCEPTED);
        pn_link_advance(link);
        pn_delivery_settle(delivery);
        if (++peer->done < peer->options->count) continue;
        peer->report.last = now();
        finish(peer);
        return;
    }
    int missing = peer->options->credit - pn_link_credit(link);
    if (!peer->finished && 2 * missing >= peer->options->credit) pn_link_flow(link, missing);
}

// The connection ------------------------------------------------------------------------------------------------------

static void start(Peer *peer) {
    const Options *options = peer->options;
    pn_connection_set_container(peer->driver.connection, options->program);
    if (!peer->sending) return;
    pn_connection_set_hostname(peer->driver.connection, "localhost");
    pn_connection_open(peer->driver.connection);
    peer->session = pn_session(peer->driver.connection);
    pn_session_open(peer->session);
    for (unsigned index = 0; index < options->links; index++) {
        char address[256];
        link_address(options, index, address, sizeof address);
        pn_link_t *link = peer->links[index] = pn_sender(peer->session, address);
        pn_terminus_set_address(pn_link_target(link), address);
        if (options->settled) pn_link_set_snd_settle_mode(link, PN_SND_SETTLED);
        pn_link_open(link);
    }
}

static void ended(Peer *peer, const char *what, pn_condition_t *condition) {
    // For settled messages, the sender knows only that they are written and that the receiver has closed.
    if (peer->options->settled && peer->report.last != 0 && !pn_condition_is_set(condition)) {
        peer->done = peer->sent;
        finish(peer);
    }
    fail_condition(peer, what, condition);
    pn_connection_close(peer->driver.connection);
}

static void handle(Peer *peer, pn_event_t *event) {
    pn_link_t *link = pn_event_link(event);
    switch (pn_event_type(event)) {
    case PN_DELIVERY:
        if (peer->sending) settle(peer, pn_event_delivery(event));
        else receive_all(peer, link);
        break;
    case PN_CONNECTION_INIT: start(peer); break;
    case PN_CONNECTION_REMOTE_OPEN: pn_connection_open(pn_event_connection(event)); break;
    case PN_SESSION_REMOTE_OPEN: pn_session_open(pn_event_session(event)); break;
    case PN_LINK_REMOTE_OPEN:
        if (!(pn_link_state(link) & PN_LOCAL_UNINIT)) break;
        pn_terminus_copy(pn_link_source(link), pn_link_remote_source(link));
        pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link));
        pn_link_open(link);
        if (pn_link_is_receiver(link)) pn_link_flow(link, peer->options->credit);
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH: ended(peer, "link detached:", pn_link_remote_condition(link)); break;
    case PN_SESSION_REMOTE_CLOSE:
        ended(peer, "session ended:", pn_session_remote_condition(pn_event_session(event)));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        ended(peer, "connection closed:", pn_connection_remote_condition(pn_event_connection(event)));
        break;
    case PN_TRANSPORT_CLOSED:
        fail_condition(peer, "connection lost:", pn_transport_condition(pn_event_transport(event)));
        break;
    default: break;
    }
}

static void lose(Peer *peer) {
    pn_connection_driver_errorf(&peer->driver, "proton:io", "%s", strerror(errno));
    pn_connection_driver_close(&peer->driver);
}

// Writes the pending bytes. Returns false if the socket accepts no more.
static bool write_all(Peer *peer) {
    for (;;) {
        pn_bytes_t bytes = pn_connection_driver_write_buffer(&peer->driver);
        // Each call doubles a full buffer and fills it further.
        for (size_t before = 0; bytes.size >= 8192 && bytes.size > before && bytes.size < BLOCK;) {
            before = bytes.size;
            bytes = pn_connection_driver_write_buffer(&peer->driver);
        }
        if (bytes.size == 0) return true;
        ssize_t count = send(peer->socket, bytes.start, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR && errno != EAGAIN) lose(peer);
        if (count < 0) return errno != EAGAIN;
        pn_connection_driver_write_done(&peer->driver, (size_t)count);
        if ((size_t)count < bytes.size) return false;
    }
}

static void read_some(Peer *peer, bool is_waiting) {
    pn_rwbytes_t buffer = pn_connection_driver_read_buffer_sized(&peer->driver, BLOCK);
    // If a frame fills the buffer, this call doubles the buffer.
    if (buffer.size == 0) buffer = pn_connection_driver_read_buffer(&peer->driver);
    if (buffer.size == 0) return;
    ssize_t count = recv(peer->socket, buffer.start, buffer.size, is_waiting ? 0 : MSG_DONTWAIT);
    if (count > 0) pn_connection_driver_read_done(&peer->driver, (size_t)count);
    else if (count == 0) pn_connection_driver_read_close(&peer->driver);
    else if (errno != EAGAIN && errno != EINTR) lose(peer);
}

static void run(Peer *peer) {
    for (;;) {
        for (pn_event_t *event; (event = pn_connection_driver_next_event(&peer->driver));) handle(peer, event);
        send_burst(peer);
        bool is_written = write_all(peer);
        if (peer->options->settled && is_written && peer->sent == peer->options->count && peer->report.last == 0)
            peer->report.last = now();
        if (pn_connection_driver_write_closed(&peer->driver)) shutdown(peer->socket, SHUT_WR);
        if (pn_connection_driver_has_event(&peer->driver)) continue;
        if (pn_connection_driver_finished(&peer->driver)) return;
        if (!is_written) {
            struct pollfd entry = {.fd = peer->socket, .events = POLLIN | POLLOUT};
            poll(&entry, 1, -1);
        }
        read_some(peer, is_written && !can_send(peer));
    }
}

static int open_socket(const Options *options) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int one = 1, number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (number < 0) return -1;
    if (options->command != RECEIVER) {
        if (connect(number, (struct sockaddr *)&address, size) != 0) return -1;
    } else {
        int listener = number;
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0) return -1;
        if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) return -1;
        say_listening(ntohs(address.sin_port));
        number = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        close(listener);
    }
    setsockopt(number, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return number;
}

int main(int argc, char **argv) {
    Options options = read_options(argc, argv, "c-engine", RECEIVER | SENDER | LATENCY);
    Peer peer = {.options = &options, .sending = options.command != RECEIVER, .socket = open_socket(&options)};
    if (peer.socket < 0) {
        complain(options.program, "%s", strerror(errno));
        return 1;
    }
    if (peer.sending) {
        encode_message(&peer);
        peer.links = allocate(options.links * sizeof *peer.links);
    } else {
        peer.message = pn_rwbytes(BLOCK, allocate(BLOCK));
    }
    if (options.command == LATENCY) peer.started = allocate(options.count * sizeof *peer.started);
    pn_transport_t *transport = pn_transport();
    pn_transport_set_max_frame(transport, FRAME);
    if (!peer.sending) pn_transport_set_server(transport);  // before pn_sasl
    pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
    if (pn_connection_driver_init(&peer.driver, NULL, transport) != 0) abort();
    run(&peer);
    peer.report.messages = peer.done;
    peer.report.body_bytes = peer.done * (peer.sending ? options.size : peer.body_size);
    peer.report.latencies = peer.started;
    if (!peer.failed) print_report(&options, &peer.report);
    pn_connection_driver_destroy(&peer.driver);
    close(peer.socket);
    free(peer.message.start);
    free(peer.links);
    free(peer.started);
    return peer.failed ? 1 : 0;
}
