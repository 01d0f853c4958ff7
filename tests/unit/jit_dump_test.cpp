// What the translator tells perf of its code, read as perf would.
#include "jit/jit_dump.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "jit/translator.h"
#include "tests/unit/long_mode_fixture.h"

using namespace lodge;

namespace {

struct Folder {
    Folder() : path("/tmp/lodge-jit-dump-test-" + std::to_string(getpid())) { std::filesystem::create_directory(path); }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
};

std::vector<u8> read_dump(const std::string& folder) {
    std::ifstream file(folder + "/jit-" + std::to_string(getpid()) + ".dump", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("a dump for perf names every block and holds its code") {
    const Folder folder;
    Guest64 guest;
    const u8 loop[] = {0xFF, 0xC0, 0x75, 0xFC, 0xF4};  // INC EAX; JNZ back; HLT
    guest.memory->write(Guest64::kCode, loop);
    guest.state().gpr[kRax] = 0xFFFFFF00;
    {
        jit::Translator::Options options;
        options.jit_dump = folder.path;
        options.hot = 2;
        auto translator = jit::Translator::create(*guest.cpu, options);
        REQUIRE(translator);
        CHECK((*translator)->run(100'000) == ExitReason::halted);
        guest.cpu->set_code_cache(nullptr);
    }
    const std::vector<u8> dump = read_dump(folder.path);
    REQUIRE(dump.size() > 40);
    CHECK(load<u32>(dump.data()) == 0x4A695444);
    CHECK(load<u32>(dump.data() + 4) == 1);
    CHECK(load<u32>(dump.data() + 8) == 40);
    CHECK(load<u32>(dump.data() + 12) == 62);
    CHECK(load<u32>(dump.data() + 20) == static_cast<u32>(getpid()));
    size_t at = 40, records = 0;
    u64 time = load<u64>(dump.data() + 24);
    while (at < dump.size()) {
        REQUIRE(dump.size() - at >= 56);
        const u8* record = dump.data() + at;
        CHECK(load<u32>(record) == 0);
        const u32 size = load<u32>(record + 4);
        CHECK(load<u64>(record + 8) >= time);
        time = load<u64>(record + 8);
        const std::string name = reinterpret_cast<const char*>(record + 56);
        const u64 code_size = load<u64>(record + 40);
        CHECK(size == 56 + name.size() + 1 + code_size);
        CHECK(code_size > 0);
        CHECK(load<u64>(record + 24) == load<u64>(record + 32));
        CHECK(load<u64>(record + 48) == records);
        if (records == 0) CHECK(name == "guest_10000");
        at += size;
        ++records;
    }
    CHECK(at == dump.size());
    CHECK(records >= 1);
}

TEST_CASE("a dump into a folder that is not there is an error") {
    Guest64 guest;
    jit::Translator::Options options;
    options.jit_dump = "/nonexistent/folder";
    const auto translator = jit::Translator::create(*guest.cpu, options);
    REQUIRE(!translator);
    CHECK(translator.error().context.find("/nonexistent/folder/jit-") == 0);
    guest.cpu->set_code_cache(nullptr);
}
