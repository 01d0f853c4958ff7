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

TEST_CASE("the life of a chain") {
    TemporaryFolder folder;
    const std::string base = folder / "base.vhd", child = folder / "child.vhd", top = folder / "top.vhd";
    const auto write = [](const std::string& path, u64 offset, std::span<const u8> bytes) {
        must(must(open_image(path, for_writing()))->write(offset, bytes));
    };
    const auto read = [](const std::string& path) { return content_of(*must(open_image(path, {}))); };
    CHECK(run({"create", base, "--size", "8M", "--block-size", "512K"}).status == 0);
    write(base, 1'000'000, pattern(3'000'000, 1));
    CHECK(run({"create", child, "--parent", base}).status == 0);
    CHECK(run({"clone", child, top, "--linked"}).status == 0);
    CHECK(run({"compare", base, top}).status == 0);
    write(child, 2'000'000, pattern(1000, 2));
    CHECK(run({"clone", child, top, "--linked", "--force"}).status == 0);
    write(top, 7'000'000, pattern(1000, 3));
    const auto expected = read(top);

    const Ran differ = run({"compare", base, top});
    CHECK(differ.status == 1);
    CHECK(differ.output.find("differ at byte 2000000 (sector 3906)") != std::string::npos);
    const Ran tree = run({"info", "--chain", top});
    CHECK(tree.status == 0);
    CHECK(std::count(tree.output.begin(), tree.output.end(), '\n') == 3);
    CHECK(tree.output.find("   └─ " + base) != std::string::npos);
    CHECK(run({"info", "--chain", "--json", top}).output.find("\"parent\": \"" + child + "\"") != std::string::npos);
    CHECK(run({"check", top}).output.find(base) != std::string::npos);

    CHECK(run({"clone", top, folder / "whole"}).status == 0);
    CHECK(must(inspect_image(folder / "whole", {})).format == ImageFormat::vhd_dynamic);
    CHECK(read(folder / "whole") == expected);
    CHECK(run({"rebase", top, "--parent", base}).status == 0);
    CHECK(read(top) == expected);
    CHECK(run({"compact", top}).status == 0);
    CHECK(run({"compare", folder / "whole", top}).status == 0);
    // The image between them is another child of the base.
    check_fails({"commit", top}, 2);
    CHECK(run({"commit", top}).errors.find(child) != std::string::npos);
    CHECK(run({"commit", top, "--force"}).status == 0);
    CHECK(read(top) == expected);
    CHECK(read(base) == expected);
    CHECK(run({"resize", top, "--size", "12M"}).status == 0);
    CHECK(run({"compare", top, base}).status == 1);  // in size
    check_fails({"resize", top, "--size", "2M"}, 2);
    CHECK(run({"resize", top, "--size", "2M", "--force"}).status == 0);
    CHECK(read(top) == std::vector<u8>(expected.begin(), expected.begin() + 2 * kMiB));
    CHECK(run({"check", top}).status == 0);
}

TEST_CASE("what cannot be done to a chain is one line, and changes nothing") {
    TemporaryFolder folder;
    const std::string base = folder / "base", child = folder / "child", fixed = folder / "fixed";
    run({"create", base, "--size", "1M"});
    run({"create", child, "--parent", base});
    run({"create", fixed, "--size", "1M", "--type", "fixed"});
    run({"create", folder / "raw", "--size", "1M", "--type", "raw"});
    const auto before = content_of(child);
    check_fails({"create", folder / "x"}, 2);
    check_fails({"create", folder / "x", "--parent", folder / "none"}, 2);
    check_fails({"create", folder / "x", "--parent", folder / "raw"}, 2);
    check_fails({"create", folder / "x", "--parent", base, "--size", "1M"}, 2);
    check_fails({"create", base, "--parent", base, "--force"}, 2);
    check_fails({"clone", base, base, "--force"}, 2);
    check_fails({"clone", base, child, "--linked"}, 2);
    check_fails({"commit", base}, 2);
    check_fails({"rebase", base, "--parent", fixed}, 2);
    check_fails({"rebase", child, "--parent", child}, 2);
    check_fails({"rebase", child, "--parent", folder / "raw"}, 2);
    check_fails({"compact", fixed}, 2);
    check_fails({"resize", child, "--size", "1000"}, 2);
    check_fails({"compare", child, folder / "none"}, 2);
    run({"create", folder / "grandchild", "--parent", child});
    check_fails({"rebase", child, "--parent", folder / "grandchild"}, 2);
    CHECK(content_of(child) == before);
    std::filesystem::rename(base, folder / "elsewhere");
    check_fails({"info", "--chain", child}, 2);
    CHECK(run({"info", child}).status == 0);
    check_fails({"check", child}, 2);
    CHECK(run({"rebase", child, "--parent", folder / "elsewhere", "--metadata-only"}).status == 0);
    CHECK(run({"check", child}).status == 0);
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
