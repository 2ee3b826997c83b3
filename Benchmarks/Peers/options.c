/* SPDX-License-Identifier: Apache-2.0 */

// The command line of the benchmark's programs: read_options of common.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int command;
    const char *name, *usage;
} Entry;

static const Entry commands[] = {
    {RECEIVER, "receiver",
     "--port PORT --credit N --count COUNT [--tls CERT KEY]\n"
     "    Listens (port 0: any) and prints `listening PORT` as its first line on stderr. Accepts one connection with\n"
     "    any number of links and N messages of credit on each, renewed at half. Decodes and accepts each message.\n"
     "    Closes the connection after COUNT messages."},
    {RECEIVER | WITH_CONNECT, "receiver",
     "--connect --port PORT --credit N --count COUNT [--address NAME] [--tls CA]\n"
     "    The same, but connects to PORT and receives from NAME (default: bench-0)."},
    {SENDER, "sender",
     "--port PORT --count COUNT --size BYTES [--settled] [--links N] [--address NAME] [--tls CA]\n"
     "    Sends COUNT messages with a timestamp as their application property `sent` and BYTES of data, to N links in\n"
     "    turn (default: 1; bench-0, bench-1, …), as fast as the credit allows. Waits until all are accepted;\n"
     "    --settled sends them settled and waits until the receiver has closed the connection."},
    {LATENCY, "latency",
     "--port PORT --count COUNT --size BYTES --depth D [--links N] [--address NAME] [--tls CA]\n"
     "    The same with at most D unsettled messages; measures the time from sending to settlement of each message."},
    {CONNECT, "connect",
     "--port PORT --count COUNT [--tls CA]\n"
     "    Opens and closes COUNT connections, one after the other."},
    {IDLE, "idle",
     "--port PORT --count COUNT\n"
     "    Opens COUNT connections, reports, and holds them until standard input ends."},
    {LISTEN, "listen",
     "--port PORT [--tls CERT KEY] [--expect COUNT]\n"
     "    Accepts connections until standard input ends; reports when COUNT are open at the same time."},
    {CODEC, "codec",
     "message|map --count COUNT\n"
     "    Encodes a message COUNT times, decodes it COUNT times, and decodes and reads it COUNT times; no network."},
};

typedef enum { PORT, CREDIT, COUNT, SIZE, LINKS, DEPTH, ADDRESS, SETTLED, CONNECTING, TLS, OURS, OPTIONS } Name;

typedef struct {
    Name name;
    const char *text;
    int allowed, required;  // commands
    uint64_t least, most;
} Option;

// The maximum size of a message, so that a typing error cannot exhaust the machine.
static const uint64_t largest = UINT64_C(1) << 30;

static const Option known[] = {
    {PORT, "--port", EVERY_COMMAND & ~CODEC, EVERY_COMMAND & ~CODEC, 0, 65535},
    {CREDIT, "--credit", RECEIVER, RECEIVER, 1, 1000000},
    {COUNT, "--count", EVERY_COMMAND & ~LISTEN, EVERY_COMMAND & ~LISTEN, 1, UINT64_C(1) << 40},
    {COUNT, "--expect", LISTEN, 0, 1, 1000000},
    {SIZE, "--size", SENDER | LATENCY, SENDER | LATENCY, 0, largest},
    {LINKS, "--links", SENDER | LATENCY, 0, 1, 30000},
    {DEPTH, "--depth", LATENCY, LATENCY, 1, 1000000},
    {ADDRESS, "--address", RECEIVER | SENDER | LATENCY, 0, 0, 0},
    {SETTLED, "--settled", SENDER, 0, 0, 0},
    {CONNECTING, "--connect", RECEIVER, 0, 0, 0},
    {TLS, "--tls", RECEIVER | SENDER | LATENCY | CONNECT | LISTEN, 0, 0, 0},
    // Only the library's contender has this option.
    {OURS, "--settle", RECEIVER, 0, 0, 0},
    {OURS, "--from", SENDER, 0, 0, 0},
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static void print_usage(FILE *file, const char *program, int abilities) {
    for (size_t index = 0; index < LENGTH(commands); index++) {
        const Entry *entry = &commands[index];
        if ((abilities & entry->command) == entry->command)
            fprintf(file, "%s %s %s\n", program, entry->name, entry->usage);
    }
    fputs("\nUses 127.0.0.1 and SASL ANONYMOUS. Prints one line of JSON at the end. Exits with 1 if a connection\n"
          "ends early or the call is wrong, and with 3 if it does not support the request",
          file);
    fputs(abilities & WITH_TLS ? ".\n" : ", like --tls.\n", file);
}

static void wrong_call(const char *program, int abilities) {
    print_usage(stderr, program, abilities);
    exit(1);
}

static void refuse(const char *program, const char *what) {
    complain(program, "%s is not supported", what);
    exit(3);
}

static const Option *find_option(const char *text, int command) {
    for (size_t index = 0; index < LENGTH(known); index++)
        if (strcmp(text, known[index].text) == 0 && known[index].allowed & command) return &known[index];
    return NULL;
}

static bool read_number(const char *text, const Option *option, uint64_t *value) {
    char *end = NULL;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0 && *value >= option->least && *value <= option->most;
}

// Reads the arguments of an option. Returns their number, or -1 if the call is wrong.
static int take(Options *options, const Option *option, char **rest, int count) {
    bool is_listening = options->command == LISTEN || (options->command == RECEIVER && !options->connecting);
    uint64_t value = 0;
    if (option->most > 0 && (count < 1 || !read_number(rest[0], option, &value))) return -1;
    switch (option->name) {
    case PORT: options->port = (int)value; return value > 0 || is_listening ? 1 : -1;
    case CREDIT: options->credit = (int)value; return 1;
    case COUNT: options->count = value; return 1;
    case SIZE: options->size = (size_t)value; return 1;
    case LINKS: options->links = (unsigned)value; return 1;
    case DEPTH: options->depth = (unsigned)value; return 1;
    case ADDRESS: options->address = rest[0]; return count < 1 ? -1 : 1;
    case SETTLED: options->settled = true; return 0;
    case CONNECTING: return 0;
    case TLS:
        options->tls = true;
        if (count < (is_listening ? 2 : 1)) return -1;
        if (!is_listening) {
            options->authority = rest[0];
            return 1;
        }
        options->certificate = rest[0];
        options->key = rest[1];
        return 2;
    default: return -1;
    }
}

Options read_options(int argc, char **argv, const char *program, int abilities) {
    Options options;
    memset(&options, 0, sizeof options);
    options.program = program;
    options.links = 1;
    for (int index = 1; index < argc; index++) {
        if (strcmp(argv[index], "--help") == 0 || strcmp(argv[index], "-h") == 0) {
            print_usage(stdout, program, abilities);
            exit(0);
        }
        // The arguments of --tls depend on this option.
        if (strcmp(argv[index], "--connect") == 0) options.connecting = true;
    }
    for (size_t index = 0; argc > 1 && index < LENGTH(commands); index++)
        if (strcmp(argv[1], commands[index].name) == 0) options.command |= commands[index].command & EVERY_COMMAND;
    if (options.command == 0) wrong_call(program, abilities);
    if (!(options.command & abilities)) refuse(program, argv[1]);

    int next = 2;
    if (options.command == CODEC) {
        options.codec = argc > 2 ? argv[next++] : "";
        if (strcmp(options.codec, "message") != 0 && strcmp(options.codec, "map") != 0) wrong_call(program, abilities);
    }
    int seen = 0;
    while (next < argc) {
        const Option *option = find_option(argv[next], options.command);
        if (!option || seen & 1 << option->name) wrong_call(program, abilities);
        if (option->name == OURS || (option->name == TLS && !(abilities & WITH_TLS)) ||
            (option->name == CONNECTING && !(abilities & WITH_CONNECT)))
            refuse(program, option->text);
        seen |= 1 << option->name;
        next++;
        int taken = take(&options, option, argv + next, argc - next);
        if (taken < 0) wrong_call(program, abilities);
        next += taken;
    }
    for (size_t index = 0; index < LENGTH(known); index++)
        if (known[index].required & options.command && !(seen & 1 << known[index].name)) wrong_call(program, abilities);
    return options;
}

void link_address(const Options *options, unsigned index, char *buffer, size_t size) {
    if (!options->address) snprintf(buffer, size, "bench-%u", index);
    else if (options->links == 1) snprintf(buffer, size, "%s", options->address);
    else snprintf(buffer, size, "%s-%u", options->address, index);
}
