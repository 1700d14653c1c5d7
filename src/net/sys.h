/* SPDX-License-Identifier: Apache-2.0 */

/* net/sys.h - clock, chance and wake-ups of the system. */

#ifndef NET_SYS_H
#define NET_SYS_H

#include <stdint.h>

#include "base/must_use.h"

/* Monotonic, and running through suspend. */
uint64_t sys_now_ns(void);

/* From the system's source of chance. */
uint64_t sys_random(void);

/* A descriptor that is readable once rung, until cleared. -1: none left. */
int sys_bell_new(void);
void sys_bell_ring(int fd);
void sys_bell_clear(int fd);

#endif
