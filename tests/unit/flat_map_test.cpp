#include "core/base/flat_map.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

namespace lodge {

TEST_CASE("a flat map agrees with std::map over random insertions and removals") {
    FlatMap<u64> map;
    std::map<u64, u64> model;
    std::mt19937_64 random(7);
    for (int i = 0; i < 200'000; ++i) {
        const u64 key = random() % 5000 * 4096;
        const auto known = model.find(key);
        const u64* found = map.find(key);
        REQUIRE((found != nullptr) == (known != model.end()));
        if (found) REQUIRE(*found == known->second);
        if (random() % 2 && !found) {
            map.insert(key, std::make_unique<u64>(random()));
            model[key] = *map.find(key);
        } else if (found && random() % 2) {
            CHECK(*map.take(key) == known->second);
            model.erase(known);
        }
        REQUIRE(map.size() == model.size());
    }
    u64 count = 0;
    map.take_all([&](std::unique_ptr<u64>) { ++count; });
    CHECK(count == model.size());
    CHECK(map.size() == 0);
    CHECK(map.take(1) == nullptr);
}

}  // namespace lodge
