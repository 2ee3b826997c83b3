/* SPDX-License-Identifier: Apache-2.0 */

#include "CHeap.h"

#ifdef __linux__
#include <malloc.h>
#endif

void heap_trim(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

size_t heap_bytes(void) {
#ifdef __GLIBC__
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}
