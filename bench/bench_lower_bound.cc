// SPDX-License-Identifier: Apache-2.0

// The comparator of dlht-bench index: std::lower_bound as others would call it.

#include <algorithm>
#include <cstddef>
#include <cstdint>

extern "C" std::size_t bench_std_lower_bound(const std::uint64_t *keys,
                                             std::size_t count,
                                             std::uint64_t key);

extern "C" std::size_t bench_std_lower_bound(const std::uint64_t *keys,
                                             std::size_t count,
                                             std::uint64_t key)
{
    return static_cast<std::size_t>(std::lower_bound(keys, keys + count, key) -
                                    keys);
}
