/* SPDX-License-Identifier: Apache-2.0 */

// See common.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "common.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void complain(const char *program, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void say_listening(int port) { fprintf(stderr, "listening %d\n", port); }

int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t wall_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

// Returns a value of /proc/self/status in bytes. The peak of getrusage would include the memory before exec.
static long status_bytes(const char *name) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kilobytes = 0;
    size_t length = strlen(name);
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, length) == 0 && line[length] == ':') kilobytes = strtol(line + length + 1, NULL, 10);
    if (file) fclose(file);
    return kilobytes * 1024;
}

long resident_bytes(void) { return status_bytes("VmRSS"); }

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int compare(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

void sort_latencies(int64_t *values, uint64_t count) { qsort(values, count, sizeof *values, compare); }

int64_t percentile(const int64_t *values, uint64_t count, double percent) {
    // A rounding error above a whole rank must not select the next rank.
    uint64_t rank = (uint64_t)ceil(percent / 100 * (double)count - 1e-6);
    return values[rank < 1 ? 0 : (rank > count ? count : rank) - 1];
}

static void print_latencies(const Report *report) {
    static const double parts[] = {50, 90, 99, 99.9};
    const int64_t *values = report->latencies;
    uint64_t count = report->messages;
    double largest = (double)values[count - 1] / 1e3;
    printf(",\"percentiles_us\":{");
    for (int index = 0; index < 4; index++)
        printf("\"%g\":%.3f,", parts[index], (double)percentile(values, count, parts[index]) / 1e3);
    printf("\"max\":%.3f},\"curve_us\":[", largest);
    // Three points for each halving of the remaining part.
    for (int index = 0; index < 39; index++) {
        double percent = 100 * (1 - pow(2, -index / 3.0));
        printf("[%.5f,%.3f],", percent, (double)percentile(values, count, percent) / 1e3);
    }
    printf("[100,%.3f]]", largest);
}

void print_report(const Options *options, Report *report) {
    double seconds = (double)(report->last - report->first) / 1e9;
    double divisor = seconds > 0 ? seconds : 1e-9;
    switch (options->command) {
    case CONNECT:
        printf("{\"connections\":%" PRIu64 ",\"seconds\":%.6f,\"connections_per_second\":%.1f", report->connections,
               seconds, (double)report->connections / divisor);
        break;
    case IDLE:
    case LISTEN:
        printf("{\"connections\":%" PRIu64 ",\"resident_bytes_before\":%ld,\"resident_bytes_after\":%ld",
               report->connections, report->resident_before, report->resident_after);
        break;
    case CODEC:
        printf("{\"encode_ns\":%.1f,\"decode_ns\":%.1f,\"read_ns\":%.1f,\"encoded_bytes\":%zu", report->encode,
               report->decode, report->read, report->encoded_bytes);
        break;
    default:
        printf("{\"messages\":%" PRIu64 ",\"seconds\":%.6f,\"messages_per_second\":%.1f,\"megabytes_per_second\":%.3f",
               report->messages, seconds, (double)report->messages / divisor,
               (double)report->body_bytes / 1e6 / divisor);
        if (options->command == LATENCY) {
            sort_latencies(report->latencies, report->messages);
            print_latencies(report);
        }
    }
    printf(",\"cpu_seconds\":%.3f,\"peak_resident_bytes\":%ld}\n", cpu_seconds(), status_bytes("VmHWM"));
    fflush(stdout);
}

void *allocate(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);
    if (!memory) abort();
    return memory;
}

void wait_for_end_of_input(void) {
    char buffer[256];
    while (read(STDIN_FILENO, buffer, sizeof buffer) > 0) {}
}

void allow_many_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
