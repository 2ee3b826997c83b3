/* SPDX-License-Identifier: Apache-2.0 */

#include <stddef.h>

/// Returns the allocator's free memory to the system.
void heap_trim(void);

/// Returns the allocated bytes; 0 if the allocator does not report them.
size_t heap_bytes(void);
