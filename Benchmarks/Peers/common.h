/* SPDX-License-Identifier: Apache-2.0 */

// The common parts of the benchmark's programs: the command line, clocks, memory and the report. Valid C and C++.
#ifndef BENCHMARK_COMMON_H
#define BENCHMARK_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Bits, so that a program can declare its commands.
typedef enum {
    RECEIVER = 1 << 0,
    SENDER = 1 << 1,
    LATENCY = 1 << 2,
    CONNECT = 1 << 3,
    IDLE = 1 << 4,
    LISTEN = 1 << 5,
    CODEC = 1 << 6,
    // Further abilities that an option of a command may need.
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

// Reads the command line. Ends the program for --help, for a wrong call (1), and for a request that `abilities`, the
// bits of Command, do not contain (3).
Options read_options(int argc, char **argv, const char *program, int abilities);

// Prints one line on stderr: the program's name and the failure.
void complain(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Prints the line of JSON of the command, and flushes it.
void print_report(const Options *options, Report *report);

void say_listening(int port);

// Writes the address of a sender's link: --address, or bench-0, bench-1, …
void link_address(const Options *options, unsigned index, char *buffer, size_t size);

// Returns the nanoseconds of the monotonic clock.
int64_t now(void);

// Returns the milliseconds since 1970.
int64_t wall_clock(void);

// Returns VmRSS of this process in bytes.
long resident_bytes(void);

void sort_latencies(int64_t *values, uint64_t count);

// Returns the least of sorted values that `percent` of them do not exceed.
int64_t percentile(const int64_t *values, uint64_t count, double percent);

void *allocate(size_t size);

// Reads standard input to its end.
void wait_for_end_of_input(void);

// Raises the limit of open files to the maximum.
void allow_many_files(void);

#ifdef __cplusplus
}
#endif
#endif
