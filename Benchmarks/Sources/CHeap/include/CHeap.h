/* SPDX-License-Identifier: Apache-2.0 */

#include <stddef.h>

/// Gives what the allocator keeps for later back to the system.
void heap_trim(void);

/// The bytes that are allocated now; 0 where the allocator does not tell.
size_t heap_bytes(void);
