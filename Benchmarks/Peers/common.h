/* SPDX-License-Identifier: Apache-2.0 */

// What the programs of the benchmark share: the command line, clocks, memory and the report. Valid C and C++.
#ifndef BENCHMARK_COMMON_H
#define BENCHMARK_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Bits, so that a program can say which of them it has.
typedef enum {
    RECEIVER = 1 << 0,
    SENDER = 1 << 1,
    LATENCY = 1 << 2,
    CONNECT = 1 << 3,
    IDLE = 1 << 4,
    LISTEN = 1 << 5,
    CODEC = 1 << 6,
    // What an option of a command may need beside it.
    WITH_TLS = 1 << 7,
    WITH_CONNECT = 1 << 8,
} Command;

enum { EVERY_COMMAND = RECEIVER | SENDER | LATENCY | CONNECT | IDLE | LISTEN | CODEC };

typedef struct {
    const char *program;
    int command;
    bool connecting, settled, tls;
    int port, credit;
    uint64_t count;  // of `listen`: --expect, or 0
    size_t size;
    unsigned links, depth;
    const char *address, *codec;
    const char *authority, *certificate, *key;
} Options;

typedef struct {
    uint64_t messages, body_bytes;
    int64_t first, last;     // nanoseconds of now()
    int64_t *latencies;      // nanoseconds; sorted by the report
    uint64_t connections;
    long resident_before, resident_after;
    double encode, decode, read;   // nanoseconds a message
    size_t encoded_bytes;
} Report;

// Reads the command line. Ends the program on --help, on a wrong call (1), and when it asks for what `abilities`, the
// bits of Command, do not hold (3).
Options read_options(int argc, char **argv, const char *program, int abilities);

// One line on stderr: the program's name and what went wrong.
void complain(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Prints the line of JSON that belongs to the command, and flushes it.
void print_report(const Options *options, Report *report);

void say_listening(int port);

// The address of a sender's link: --address, or bench-0, bench-1, …
void link_address(const Options *options, unsigned index, char *buffer, size_t size);

// Nanoseconds of the monotonic clock.
int64_t now(void);

// Milliseconds since 1970.
int64_t wall_clock(void);

// VmRSS of this process in bytes.
long resident_bytes(void);

void sort_latencies(int64_t *values, uint64_t count);

// Of sorted values, the least that `percent` of them do not exceed.
int64_t percentile(const int64_t *values, uint64_t count, double percent);

void *allocate(size_t size);

// Reads standard input to its end.
void wait_for_end_of_input(void);

// As many open files as the system lets this process have.
void allow_many_files(void);

#ifdef __cplusplus
}
#endif
#endif
