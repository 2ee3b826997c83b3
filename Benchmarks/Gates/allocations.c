/* SPDX-License-Identifier: Apache-2.0 */

/* Counts the allocations of a process that starts with this library in LD_PRELOAD, for dev/gates.
 *
 * At the end of the process, the library writes to the file that ALLOCATIONS names:
 *   total COUNT BYTES
 * and, if ALLOCATIONS_WHERE is set, one line for each stack that allocated, innermost frame first:
 *   stack COUNT BYTES FRAME…
 * A frame is FILE+OFFSET, or FILE:SYMBOL where the file's table of dynamic symbols has a name. Bytes are the requested
 * bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 48, STACKS = 1 << 15 };

struct stack {
    unsigned long count, bytes;
    uint64_t hash;
    int depth;
    void *frames[DEPTH];
};

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static unsigned long allocations, allocated;
static bool tells_where;
static struct stack stacks[STACKS];
static unsigned long lost;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Allocations of the backtrace itself are not counted. */
static __thread bool is_inside __attribute__((tls_model("initial-exec")));

static void __attribute__((noinline)) keep_stack(size_t size) {
    void *frames[DEPTH + 1];
    /* The depth without this function. */
    int depth = backtrace(frames, DEPTH + 1) - 1;
    if (depth < 1) return;
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < depth; i++) hash = (hash ^ (uintptr_t)frames[i + 1]) * 1099511628211u;
    pthread_mutex_lock(&lock);
    size_t place = (hash ^ hash >> 32) % STACKS;
    for (int i = 0; i < STACKS && stacks[place].count && stacks[place].hash != hash; i++) place = (place + 1) % STACKS;
    struct stack *stack = &stacks[place];
    if (!stack->count) {
        stack->hash = hash;
        stack->depth = depth;
        memcpy(stack->frames, frames + 1, sizeof *frames * (size_t)depth);
    }
    if (stack->hash == hash) {
        stack->count++;
        stack->bytes += size;
    } else {
        lost++;
    }
    pthread_mutex_unlock(&lock);
}

static void count(size_t size) {
    if (is_inside) return;
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&allocated, size, __ATOMIC_RELAXED);
    if (!tells_where) return;
    is_inside = true;
    keep_stack(size);
    is_inside = false;
}

void *malloc(size_t size) {
    count(size);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(number * size);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count(size);
    return __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t number, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(number, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}

void *memalign(size_t alignment, size_t size) {
    count(size);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **place, size_t alignment, size_t size) {
    void *memory = memalign(alignment, size);
    if (!memory) return ENOMEM;
    *place = memory;
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    is_inside = true;
    void *frame;
    /* The first call loads the unwinder. */
    backtrace(&frame, 1);
    is_inside = false;
    tells_where = getenv("ALLOCATIONS_WHERE") != NULL;
}

static void write_frame(FILE *file, void *frame) {
    /* A return address may be behind the end of the calling function. */
    char *address = (char *)frame - 1;
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname)
        fputs(" ?", file);
    else if (info.dli_sname)
        fprintf(file, " %s:%s", info.dli_fname, info.dli_sname);
    else
        fprintf(file, " %s+%#lx", info.dli_fname, (unsigned long)(address - (char *)info.dli_fbase));
}

__attribute__((destructor)) static void end(void) {
    is_inside = true;
    const char *path = getenv("ALLOCATIONS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "total %lu %lu\n", allocations, allocated);
    for (int i = 0; tells_where && i < STACKS; i++) {
        if (!stacks[i].count) continue;
        fprintf(file, "stack %lu %lu", stacks[i].count, stacks[i].bytes);
        for (int frame = 0; frame < stacks[i].depth; frame++) write_frame(file, stacks[i].frames[frame]);
        fputc('\n', file);
    }
    if (lost) fprintf(file, "lost %lu\n", lost);
    fclose(file);
}
