/* SPDX-License-Identifier: Apache-2.0 */

/* How long a put and a get take in OpenDHT, one after the other: three nodes
 * in this process on loopback, put at one, get at another, values of 64
 * bytes. Its limits on rates are off. Prints an object with the medians in
 * microseconds.
 *
 *   bench_opendht [COUNT]
 */

#include <opendht.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace
{

using steady = std::chrono::steady_clock;

constexpr unsigned nodes = 3;

dht::DhtRunner::Config config_of()
{
    dht::DhtRunner::Config config{};
    config.dht_config.node_config.network = 7;
    config.dht_config.node_config.max_req_per_sec = -1;
    config.dht_config.node_config.max_peer_req_per_sec = -1;
    config.threaded = true;
    return config;
}

double us_since(steady::time_point begin)
{
    return std::chrono::duration<double, std::micro>(steady::now() - begin)
        .count();
}

double median(std::vector<double> &of)
{
    std::sort(of.begin(), of.end());
    return of[of.size() / 2];
}

bool wait_for_peers(dht::DhtRunner *ring)
{
    for (int i = 0; i < 600; i++) {
        unsigned good = 0;
        for (unsigned n = 0; n < nodes; n++) {
            auto stats = ring[n].getNodesStats(AF_INET);
            good += stats.good_nodes + stats.dubious_nodes >= nodes - 1;
        }
        if (good == nodes)
            return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
}

double put_one(dht::DhtRunner &at, const dht::InfoHash &key)
{
    const std::string text(64, 'v');
    std::promise<bool> done;
    auto begin = steady::now();
    at.put(key, dht::Value((const uint8_t *)text.data(), text.size()),
           [&](bool good) { done.set_value(good); });
    return done.get_future().get() ? us_since(begin) : -1;
}

/* Until the call says that it is done, as its own future does: of three nodes
 * each keeps every value, and what is found in the own process says nothing. */
double get_one(dht::DhtRunner &at, const dht::InfoHash &key)
{
    auto begin = steady::now();
    auto values = at.get(key).get();
    return values.empty() ? -1 : us_since(begin);
}

} // namespace

int main(int argc, char **argv)
{
    int count = argc > 1 ? std::atoi(argv[1]) : 500;
    dht::DhtRunner ring[nodes];
    std::vector<double> puts, gets;
    int failed = 0;
    for (unsigned n = 0; n < nodes; n++) {
        auto config = config_of();
        ring[n].run(0, config);
    }
    for (unsigned n = 1; n < nodes; n++)
        for (unsigned to = 0; to < n; to++)
            ring[n].bootstrap("127.0.0.1",
                              std::to_string(ring[to].getBoundPort()));
    if (count < 1 || !wait_for_peers(ring)) {
        std::fprintf(stderr, "bench_opendht: the nodes do not find each "
                             "other\n");
        return 1;
    }
    for (int i = 0; i < count; i++) {
        auto key = dht::InfoHash::get("key " + std::to_string(i));
        double put = put_one(ring[0], key);
        double get = get_one(ring[2], key);
        if (put < 0 || get < 0) {
            failed++;
            continue;
        }
        puts.push_back(put);
        gets.push_back(get);
    }
    if (puts.empty())
        return 1;
    std::printf("{\"put_p50_us\": %.1f, \"get_p50_us\": %.1f, "
                "\"count\": %zu, \"failed\": %d}\n",
                median(puts), median(gets), puts.size(), failed);
    std::fflush(stdout);
    for (auto &node : ring)
        node.join();
    return 0;
}
