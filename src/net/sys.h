/* SPDX-License-Identifier: Apache-2.0 */

/* net/sys.h - clock, chance, wake-ups and memory of the system. */

#ifndef NET_SYS_H
#define NET_SYS_H

#include <stddef.h>
#include <stdint.h>

#include "base/must_use.h"
#include "store/records.h"

/* Monotonic, and running through suspend. */
uint64_t sys_now_ns(void);

/* Of the calendar, microseconds since 1970: to be told, never to be decided
 * by. */
uint64_t sys_wall_us(void);

/* Bytes of memory that this process holds. */
uint64_t sys_memory(void);

/* Processors that this process may run on, 1 at least. */
size_t sys_processors(void);

/* From the system's source of chance. */
uint64_t sys_random(void);

/* A descriptor that is readable once rung, until cleared. -1: none left. */
int sys_bell_new(void);
void sys_bell_ring(int fd);
void sys_bell_clear(int fd);

/* Memory for large maps: from 2 MiB on, whole stretches of 2 MiB are asked to
 * be huge pages, and the system takes or leaves it. Less is the C library's.
 * Lives as long as the program. */
const struct records_pages *sys_pages(void);

#endif
