#include "frontend/cmd_disk.h"

#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

// Runs `lodge disk ...`; standard error's lines go to `errors`.
struct Ran {
    int status = 0;
    std::string output;
    std::string errors;
};

std::string run_captured(int descriptor, const std::function<void()>& body) {
    std::fflush(nullptr);
    char name[] = "/tmp/lodge-output.XXXXXX";
    const int file = ::mkstemp(name);
    const int before = ::dup(descriptor);
    ::dup2(file, descriptor);
    body();
    std::fflush(nullptr);
    ::dup2(before, descriptor);
    ::close(before);
    ::close(file);
    const auto bytes = content_of(std::string(name));
    ::unlink(name);
    return {bytes.begin(), bytes.end()};
}

Ran run(std::vector<std::string> arguments) {
    Ran ran;
    ran.errors = run_captured(STDERR_FILENO, [&] {
        ran.output = run_captured(STDOUT_FILENO, [&] {
            CLI::App app("lodge");
            add_disk_command(app, ran.status);
            arguments.insert(arguments.begin(), "disk");
            std::reverse(arguments.begin(), arguments.end());
            try {
                app.parse(arguments);
            } catch (const CLI::ParseError&) {
                ran.status = 2;
            }
        });
    });
    return ran;
}

void check_fails(const std::vector<std::string>& arguments, int status) {
    const Ran ran = run(arguments);
    INFO(ran.errors);
    CHECK(ran.status == status);
    CHECK(ran.errors.rfind("lodge: ", 0) == 0);
    CHECK(std::count(ran.errors.begin(), ran.errors.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("create, info, convert and check") {
    TemporaryFolder folder;
    CHECK(run({"create", folder / "a.vhd", "--size", "16M"}).status == 0);
    CHECK(run({"create", folder / "b.vhd", "--size", "3000K", "--type", "fixed"}).status == 0);
    CHECK(run({"create", folder / "c", "--size", "512", "--type", "raw"}).status == 0);
    CHECK(run({"create", folder / "d", "--size", "1T", "--block-size", "512K"}).status == 0);
    CHECK(std::filesystem::file_size(folder / "b.vhd") == 3000 * kKiB + 512);
    CHECK(std::filesystem::file_size(folder / "c") == 512);
    {
        auto device = must(open_image(folder / "a.vhd", for_writing()));
        must(device->write(5'000'000, pattern(100'000, 1)));
    }
    const auto expected = content_of(*must(open_image(folder / "a.vhd", {})));
    for (const char* type : {"raw", "fixed", "dynamic"}) {
        CHECK(run({"convert", folder / "a.vhd", folder / "out", "--type", type}).status == 0);  // replaces
        CHECK(content_of(*must(open_image(folder / "out", {}))) == expected);
        CHECK(run({"check", folder / "out"}).status == 0);
    }
    const Ran info = run({"info", folder / "a.vhd", "--json"});
    CHECK(info.status == 0);
    for (const char* part : {"\"format\": \"dynamic VHD\"", "\"size\": 16777216", "\"blocks_stored\": 1"})
        CHECK(info.output.find(part) != std::string::npos);
    CHECK(run({"info", folder / "d"}).output.find("512 KiB") != std::string::npos);
    CHECK(folder.entries() == 5);
}

TEST_CASE("what cannot be done is one line, its status, and no file") {
    TemporaryFolder folder;
    for (const char* size : {"0", "100", "x", "1X", "1MM", "-1", "M", "99999999999999999999", "16777216T", "2041G"})
        check_fails({"create", folder / "a", std::string("--size=") + size}, 2);
    check_fails({"create", folder / "a", "--size", "1M", "--block-size", "3M"}, 2);
    check_fails({"create", folder / "a", "--size", "1M", "--type", "vmdk"}, 2);
    check_fails({"create", folder / "none/a", "--size", "1M"}, 2);
    check_fails({"info", folder / "none"}, 2);
    check_fails({"check", folder.path()}, 2);
    check_fails({"convert", folder / "none", folder / "a"}, 2);
    CHECK(folder.entries() == 0);
    CHECK(run({"create", folder / "a", "--size", "1M"}).status == 0);
    const auto before = content_of(folder / "a");
    check_fails({"create", folder / "a", "--size", "2M"}, 2);
    check_fails({"convert", folder / "a", folder / "a"}, 2);
    check_fails({"convert", folder / "a", folder / "b", "--type", "no"}, 2);
    check_fails({"info", folder / "a", "--size-from", "no"}, 2);
    check_fails({"info", folder / "a", "--format", "no"}, 2);
    CHECK(content_of(folder / "a") == before);
    CHECK(folder.entries() == 1);
    CHECK(run({"create", folder / "a", "--size", "2M", "--force"}).status == 0);
}

TEST_CASE("check tells damage by its status, and repairs") {
    TemporaryFolder folder;
    run({"create", folder / "a", "--size", "1M"});
    auto bytes = content_of(folder / "a");
    bytes[bytes.size() - 400] ^= 1;
    write_content(folder / "a", bytes);
    check_fails({"check", folder / "a"}, 2);
    CHECK(content_of(folder / "a") == bytes);
    CHECK(run({"check", folder / "a", "--repair"}).status == 0);
    CHECK(run({"check", folder / "a"}).status == 0);
}

TEST_CASE("an image that another has open is left alone") {
    TemporaryFolder folder;
    run({"create", folder / "a", "--size", "1M"});
    run({"create", folder / "b", "--size", "1M"});
    auto device = must(open_image(folder / "a", for_writing()));
    check_fails({"check", folder / "a"}, 2);
    check_fails({"convert", folder / "a", folder / "c"}, 2);
    check_fails({"convert", folder / "b", folder / "a"}, 2);
    CHECK(folder.entries() == 2);
}
