/* SPDX-License-Identifier: Apache-2.0 */

/* net/check.h - checks of plain test programs: a failure is printed and
 * counted, and the program goes on. */

#ifndef TESTS_NET_CHECK_H
#define TESTS_NET_CHECK_H

#include <stdio.h>

/* One in each program, however many of its files check. */
__attribute__((weak)) int check_failures;

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)

#define CHECK_EQ(a, b)                                                         \
    check_equal((long long)(a), (long long)(b), #a, #b, __FILE__, __LINE__)

static inline void check_that(int holds, const char *text, const char *file,
                              int line)
{
    if (holds)
        return;
    check_failures++;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
}

static inline void check_equal(long long a, long long b, const char *a_text,
                               const char *b_text, const char *file, int line)
{
    if (a == b)
        return;
    check_failures++;
    fprintf(stderr, "%s:%d: %s is %lld, %s is %lld\n", file, line, a_text, a,
            b_text, b);
}

/* The exit status. */
static inline int check_done(void)
{
    if (check_failures)
        fprintf(stderr, "%d checks failed\n", check_failures);
    return check_failures != 0;
}

#endif
