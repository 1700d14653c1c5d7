/* SPDX-License-Identifier: Apache-2.0 */

/* Which kernel this processor can run. */

#include "vector/kernel.h"

#include <string.h>

#include "vector/kernel_impl.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows it. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

const struct kernel *kernel_at(size_t i)
{
    const struct kernel *list[4] = { &kernel_scalar };
    size_t count = 1;
#if defined(__x86_64__)
    if (has_avx2())
        list[count++] = &kernel_avx2;
    if (has_avx512())
        list[count++] = &kernel_avx512;
#endif
#if defined(__aarch64__)
    list[count++] = &kernel_neon;
#endif
    return i < count ? list[i] : NULL;
}

const struct kernel *kernel_choose(const char *name)
{
    const struct kernel *best = NULL;
    const struct kernel *k;
    for (size_t i = 0; (k = kernel_at(i)); i++) {
        if (!name || !*name)
            best = k;
        else if (strcmp(k->name, name) == 0)
            return k;
    }
    return best;
}

size_t kernel_type_bytes(enum kernel_type type)
{
    switch (type) {
    case KERNEL_F32:
        return sizeof(float);
    case KERNEL_F16:
        return sizeof(uint16_t);
    case KERNEL_I8:
        return sizeof(int8_t);
    case KERNEL_TYPES:
        break;
    }
    return 0;
}
