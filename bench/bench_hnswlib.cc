// SPDX-License-Identifier: Apache-2.0

// The comparator of dlht-bench vector: hnswlib as its users build it, behind
// calls of C.

#include <cstddef>
#include <cstdint>

#include <hnswlib/hnswlib.h>

#include "bench_hnswlib.h"

struct bench_hnswlib {
    hnswlib::L2Space space;
    hnswlib::HierarchicalNSW<float> graph;

    bench_hnswlib(std::size_t dim, std::size_t cap, std::size_t m,
                  std::size_t ef, std::size_t seed)
        : space(dim), graph(&space, cap, m, ef, seed)
    {
    }
};

extern "C" struct bench_hnswlib *bench_hnswlib_new(std::size_t dim,
                                                   std::size_t cap,
                                                   std::size_t m,
                                                   std::size_t ef,
                                                   std::size_t seed)
{
    return new bench_hnswlib(dim, cap, m, ef, seed);
}

extern "C" void bench_hnswlib_free(struct bench_hnswlib *h)
{
    delete h;
}

extern "C" void bench_hnswlib_put(struct bench_hnswlib *h, std::size_t label,
                                  const float *vector)
{
    h->graph.addPoint(vector, label);
}

extern "C" std::size_t bench_hnswlib_search(struct bench_hnswlib *h,
                                            const float *query, std::size_t k,
                                            std::size_t ef,
                                            std::uint64_t *labels)
{
    h->graph.setEf(ef);
    auto found = h->graph.searchKnn(query, k);
    std::size_t count = found.size();
    for (std::size_t i = count; i-- > 0; found.pop())
        labels[i] = found.top().second;
    return count;
}
