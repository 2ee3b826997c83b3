/* SPDX-License-Identifier: Apache-2.0 */

// A line with a delay and a rate for measurements: a TCP proxy with one thread. See usage below.
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "delay-proxy LISTEN_HOST:PORT TARGET_HOST:PORT --delay MS --rate BYTES_PER_SECOND\n"
    "            [--buffer BYTES] [--cut-after BYTES] [--connections N]\n"
    "\n"
    "Relays TCP connections to the target over a line: each byte arrives MS milliseconds after the proxy\n"
    "read it, so that a round trip is 2 x MS longer, and each direction relays BYTES_PER_SECOND for all\n"
    "connections together. The first line on stderr is `listening HOST:PORT`; port 0 is any free port.\n"
    "\n"
    "  --buffer BYTES     the limit of one connection's bytes on the line in one direction (default: 4 x rate\n"
    "                     x delay + 1 MiB); at the limit the proxy stops reading\n"
    "  --cut-after BYTES  resets a connection on both sides after BYTES to the target\n"
    "  --connections N    ends after N connections\n"
    "\n"
    "At the end, or at SIGTERM or SIGINT, prints one line of JSON on stdout: connections, and for to_target\n"
    "and to_client bytes, bytes_in_flight_peak (of all connections), seconds (from the first byte at the end\n"
    "of the line to the last), bytes_per_second (over these), middle_bytes_per_second (from 1 % of the bytes\n"
    "to 99 %, without opening and closing) and longest_gap_seconds (in the same part, the longest time\n"
    "without a byte at the end of the line, to 1 ms).\n";

enum { READ_SIZE = 65536, SOCKET_BUFFER = 262144, MARKS = 65536, SAMPLES = 1 << 16 };

typedef struct {
    int fd;
    bool readable, writable;  // until the kernel reports otherwise: events arrive once, on a change
} Socket;

// The bytes that left a line up to a time.
typedef struct {
    int64_t when;
    uint64_t bytes;
} Sample;

// One direction of all connections.
typedef struct {
    double last;  // when the last byte left, or was due: the rate continues from that time
    uint64_t bytes;
    size_t in_flight, in_flight_peak;
    int64_t first, final;
    Sample *samples;
    size_t sample_count;
    int64_t sample_interval;
} Line;

// The bytes of one read.
typedef struct {
    int64_t arrival;
    size_t bytes;
} Mark;

typedef enum { OPEN, FINISHED, RESET } End;

// One direction of one connection.
typedef struct {
    Line *line;
    Socket *from, *to;
    char *ring;
    size_t start, used;
    Mark *marks;
    size_t first_mark, mark_count;
    uint64_t carried;
    End end;
    int64_t ended;
    bool was_blocked, is_closed;
} Way;

typedef struct Connection {
    Socket client, target;
    Way ways[2];
    bool is_broken;
    struct Connection *next;
} Connection;

static struct {
    double delay, byte_time;  // in nanoseconds
    size_t buffer, piece;
    uint64_t cut_after;
    uint64_t connections;
    struct sockaddr_storage target;
    socklen_t target_size;
} settings;

static Line lines[2];
static Connection *connections;
static uint64_t begun, done;
static int poller;

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("delay-proxy: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) die("no memory");
    return memory;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void watch(Socket *socket, uint32_t events) {
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = socket};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, socket->fd, &event) != 0) die("epoll_ctl: %s", strerror(errno));
}

// Lines ---------------------------------------------------------------------------------------------------------------

static void sample(Line *line, int64_t when) {
    if (line->sample_count > 0 && when - line->samples[line->sample_count - 1].when < line->sample_interval) return;
    if (line->sample_count == SAMPLES) {
        // Keep every second sample, which doubles the distance.
        for (size_t i = 0; i < SAMPLES / 2; i++) line->samples[i] = line->samples[2 * i];
        line->sample_count = SAMPLES / 2;
        line->sample_interval *= 2;
    }
    line->samples[line->sample_count++] = (Sample){when, line->bytes};
}

static void left_line(Line *line, size_t count, int64_t when) {
    if (line->bytes == 0) line->first = when;
    line->final = when;
    line->bytes += count;
    line->in_flight -= count;
    sample(line, when);
}

// Returns the rate between 1 % and 99 % of the bytes, and the longest gap in that part.
static double middle(const Line *line, double *gap) {
    const Sample *from = NULL, *to = NULL, *last = NULL;
    int64_t longest = 0;
    for (size_t i = 0; i < line->sample_count; i++) {
        const Sample *next = &line->samples[i];
        if (next->bytes < line->bytes / 100) continue;
        if (next->bytes > line->bytes - line->bytes / 100) break;
        if (!from) from = next;
        if (last && next->when - last->when > longest) longest = next->when - last->when;
        last = to = next;
    }
    *gap = (double)longest / 1e9;
    return from && to > from ? (double)(to->bytes - from->bytes) * 1e9 / (double)(to->when - from->when) : 0;
}

// Connections ---------------------------------------------------------------------------------------------------------

static void accept_one(Socket *listener) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) listener->readable = false;
        else if (errno != ECONNABORTED && errno != EINTR) die("accept: %s", strerror(errno));
        return;
    }
    Connection *connection = allocate(sizeof *connection);
    connection->client.fd = fd;
    connection->target.fd = socket(settings.target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->target.fd < 0) die("socket: %s", strerror(errno));
    int size = SOCKET_BUFFER, on = 1;
    // Fixed buffers, as for the listener, because bytes in the kernel are not on the line.
    setsockopt(connection->target.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(connection->target.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(connection->target.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // A failure appears when the socket is read.
    connect(connection->target.fd, (struct sockaddr *)&settings.target, settings.target_size);
    watch(&connection->client, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    watch(&connection->target, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    Socket *sides[] = {&connection->client, &connection->target};
    for (int i = 0; i < 2; i++) {
        connection->ways[i] = (Way){.line = &lines[i], .from = sides[i], .to = sides[1 - i]};
        connection->ways[i].ring = allocate(settings.buffer);
        connection->ways[i].marks = allocate(MARKS * sizeof(Mark));
    }
    connection->next = connections;
    connections = connection;
    begun++;
}

static void drop(Way *way) {
    way->line->in_flight -= way->used;
    way->used = way->mark_count = 0;
    way->is_closed = true;
}

static void break_off(Connection *connection) {
    connection->is_broken = true;
    for (int i = 0; i < 2; i++) drop(&connection->ways[i]);
}

static void reap(void) {
    for (Connection **place = &connections; *place;) {
        Connection *connection = *place;
        if (!connection->ways[0].is_closed || !connection->ways[1].is_closed) {
            place = &connection->next;
            continue;
        }
        struct linger abrupt = {.l_onoff = 1, .l_linger = 0};
        Socket *sides[] = {&connection->client, &connection->target};
        for (int i = 0; i < 2; i++) {
            if (connection->is_broken) setsockopt(sides[i]->fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
            close(sides[i]->fd);
            free(connection->ways[i].ring);
            free(connection->ways[i].marks);
        }
        *place = connection->next;
        free(connection);
        done++;
    }
}

static bool wants_input(const Way *way) {
    return !way->is_closed && way->end == OPEN && way->from->readable && way->used < settings.buffer &&
           way->mark_count < MARKS;
}

// Reads once.
static void take_in(Way *way) {
    size_t end = (way->start + way->used) % settings.buffer;
    size_t room = settings.buffer - way->used;
    if (room > settings.buffer - end) room = settings.buffer - end;
    if (room > READ_SIZE) room = READ_SIZE;
    ssize_t count = recv(way->from->fd, way->ring + end, room, 0);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        way->from->readable = false;
    } else if (count <= 0) {
        if (count < 0 && errno == EINTR) return;
        way->end = count == 0 ? FINISHED : RESET;
        way->ended = now();
    } else {
        way->marks[(way->first_mark + way->mark_count++) % MARKS] = (Mark){now(), (size_t)count};
        way->used += (size_t)count;
        way->line->in_flight += (size_t)count;
        if (way->line->in_flight > way->line->in_flight_peak) way->line->in_flight_peak = way->line->in_flight;
    }
}

// Writes the next piece of a connection at the end of the line.
static void put_out(Connection *connection, Way *way, size_t size, double due) {
    if (size == 0) {
        way->is_closed = true;
        if (way->end == RESET) return break_off(connection);
        shutdown(way->to->fd, SHUT_WR);
        return;
    }
    ssize_t count = send(way->to->fd, way->ring + way->start, size, MSG_NOSIGNAL);
    if (count < 0) {
        if (errno == EINTR) return;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            way->to->writable = false;
            way->was_blocked = true;
            return;
        }
        // The other end accepts no more bytes. Its own bytes are still relayed.
        connection->is_broken = true;
        return drop(way);
    }
    int64_t when = now();
    // If the proxy was late, it catches up. If the line was blocked, it does not.
    way->line->last = way->was_blocked && (double)when > due ? (double)when : due;
    way->was_blocked = (size_t)count < size;
    way->start = (way->start + (size_t)count) % settings.buffer;
    way->used -= (size_t)count;
    way->carried += (size_t)count;
    Mark *mark = &way->marks[way->first_mark];
    mark->bytes -= (size_t)count;
    if (mark->bytes == 0) {
        way->first_mark = (way->first_mark + 1) % MARKS;
        way->mark_count--;
    }
    left_line(way->line, (size_t)count, when);
    if (way == &connection->ways[0] && way->carried == settings.cut_after) break_off(connection);
}

static int64_t head_arrival(const Way *way) {
    return way->mark_count > 0 ? way->marks[way->first_mark].arrival : way->ended;
}

// Writes the due pieces, the oldest first. Returns the due time of the next piece.
static double put_out_due(int index) {
    Line *line = &lines[index];
    for (;;) {
        Connection *connection = NULL;
        for (Connection *next = connections; next; next = next->next) {
            Way *way = &next->ways[index];
            if (way->is_closed || (way->mark_count > 0 ? !way->to->writable : way->end == OPEN)) continue;
            if (!connection || head_arrival(way) < head_arrival(&connection->ways[index])) connection = next;
        }
        if (!connection) return -1;
        Way *way = &connection->ways[index];
        size_t size = way->mark_count > 0 ? way->marks[way->first_mark].bytes : 0;
        if (size > settings.piece) size = settings.piece;
        if (size > settings.buffer - way->start) size = settings.buffer - way->start;
        if (index == 0 && size > settings.cut_after - way->carried) size = settings.cut_after - way->carried;
        double due = (double)head_arrival(way) + settings.delay;
        double free = line->last + (double)size * settings.byte_time;
        if (due < free) due = free;
        if (due > (double)now()) return due;
        put_out(connection, way, size, due);
    }
}

// The program ---------------------------------------------------------------------------------------------------------

static void report(void) {
    static const char *const names[] = {"to_target", "to_client"};
    printf("{\"connections\":%" PRIu64, begun);
    for (int i = 0; i < 2; i++) {
        const Line *line = &lines[i];
        double seconds = (double)(line->final - line->first) / 1e9, gap = 0, rate = middle(line, &gap);
        printf(",\"%s\":{\"bytes\":%" PRIu64 ",\"bytes_in_flight_peak\":%zu,\"seconds\":%.6f,\"bytes_per_second\":%.0f,"
               "\"middle_bytes_per_second\":%.0f,\"longest_gap_seconds\":%.6f}",
               names[i], line->bytes, line->in_flight_peak, seconds, seconds > 0 ? (double)line->bytes / seconds : 0,
               rate, gap);
    }
    printf("}\n");
    fflush(stdout);
}

static struct addrinfo *resolve(const char *place, bool passive) {
    char host[256];
    const char *colon = strrchr(place, ':');
    size_t length = colon ? (size_t)(colon - place) : 0;
    if (length == 0 || length >= sizeof host) die("%s is not HOST:PORT", place);
    memcpy(host, place, length);
    host[length] = 0;
    char *name = host;
    if (name[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0}, *found = NULL;
    int error = getaddrinfo(name, colon + 1, &hints, &found);
    if (error != 0) die("%s: %s", place, gai_strerror(error));
    return found;
}

static int listen_at(const char *place) {
    struct addrinfo *address = resolve(place, true);
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, size = SOCKET_BUFFER;
    if (fd < 0) die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        die("%s: %s", place, strerror(errno));
    }
    freeaddrinfo(address);
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;
    char host[256], port[32];
    getsockname(fd, (struct sockaddr *)&bound, &bound_size);
    getnameinfo((struct sockaddr *)&bound, bound_size, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    fprintf(stderr, strchr(host, ':') ? "listening [%s]:%s\n" : "listening %s:%s\n", host, port);
    return fd;
}

static double number(const char *option, const char *text, double least) {
    char *end;
    double value = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || !(value >= least) || value > 1e15) {
        die("%s takes a number, %g or more", option, least);
    }
    return value;
}

static void read_arguments(int argc, char **argv) {
    double rate = 0, buffer = 0, delay = -1;
    settings.cut_after = settings.connections = UINT64_MAX;
    for (int i = 3; i < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--delay") == 0) delay = number(argv[i], value, 0);
        else if (strcmp(argv[i], "--rate") == 0) rate = number(argv[i], value, 1);
        else if (strcmp(argv[i], "--buffer") == 0) buffer = number(argv[i], value, 1);
        else if (strcmp(argv[i], "--cut-after") == 0) settings.cut_after = (uint64_t)number(argv[i], value, 1);
        else if (strcmp(argv[i], "--connections") == 0) settings.connections = (uint64_t)number(argv[i], value, 1);
        else die("unknown option %s; see --help", argv[i]);
    }
    if (delay < 0 || rate == 0) die("--delay and --rate are needed; see --help");
    settings.delay = delay * 1e6;
    settings.byte_time = 1e9 / rate;
    settings.buffer = (size_t)(buffer > 0 ? buffer : 4 * rate * delay / 1e3 + 1048576);
    // Pieces of a quarter of a millisecond, but at least one packet.
    settings.piece = (size_t)(rate / 4000);
    if (settings.piece < 1448) settings.piece = 1448;
    if (settings.piece > READ_SIZE) settings.piece = READ_SIZE;
    struct addrinfo *target = resolve(argv[2], false);
    memcpy(&settings.target, target->ai_addr, target->ai_addrlen);
    settings.target_size = target->ai_addrlen;
    freeaddrinfo(target);
    for (int i = 0; i < 2; i++) {
        lines[i].samples = allocate(SAMPLES * sizeof(Sample));
        lines[i].sample_interval = 1000000;
    }
}

static void set_timer(const Socket *timer, double first, double second) {
    double due = first < 0 || (second >= 0 && second < first) ? second : first;
    struct itimerspec time = {0};
    if (due >= 0) {
        int64_t when = (int64_t)due + 1;
        time.it_value.tv_sec = when / 1000000000;
        time.it_value.tv_nsec = when % 1000000000;
    }
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &time, NULL);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (argc < 3) {
        fputs(usage, stderr);
        return 1;
    }
    read_arguments(argc, argv);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    poller = epoll_create1(EPOLL_CLOEXEC);
    Socket signals = {.fd = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC)};
    Socket timer = {.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    if (poller < 0 || signals.fd < 0 || timer.fd < 0) die("%s", strerror(errno));
    Socket listener = {.fd = listen_at(argv[1])};
    watch(&signals, EPOLLIN);
    watch(&timer, EPOLLIN);
    watch(&listener, EPOLLIN);
    for (bool is_busy = false; !signals.readable && done < settings.connections;) {
        struct epoll_event events[64];
        int count = epoll_wait(poller, events, 64, is_busy ? 0 : -1);
        if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            Socket *socket = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) socket->readable = true;
            if (events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) socket->writable = true;
        }
        if (listener.readable && begun < settings.connections) accept_one(&listener);
        // One read per connection, so that due pieces do not wait for all readable bytes.
        for (Connection *connection = connections; connection; connection = connection->next) {
            for (int i = 0; i < 2; i++) {
                if (wants_input(&connection->ways[i])) take_in(&connection->ways[i]);
            }
        }
        double to_target = put_out_due(0), to_client = put_out_due(1);
        set_timer(&timer, to_target, to_client);
        reap();
        is_busy = listener.readable && begun < settings.connections;
        for (Connection *connection = connections; connection; connection = connection->next) {
            for (int i = 0; i < 2; i++) is_busy |= wants_input(&connection->ways[i]);
        }
    }
    report();
    return 0;
}
