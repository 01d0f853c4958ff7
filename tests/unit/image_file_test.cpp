#include "disks/file.h"

#include <sys/stat.h>

#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

TEST_CASE("what is written is read, and the file grows") {
    TemporaryFolder folder;
    write_content(folder / "a", pattern(100, 1));
    auto file = must(HostFile::open(folder / "a", FileAccess::read_write));
    CHECK(must(file->size()) == 100);
    must(file->write(5000, pattern(50, 2)));
    CHECK(must(file->size()) == 5050);
    std::vector<u8> bytes(50);
    must(file->read(5000, bytes));
    CHECK(bytes == pattern(50, 2));
    must(file->sync());
    must(file->truncate(10));
    CHECK(must(file->size()) == 10);
}

TEST_CASE("reading past the end says which file and where") {
    auto file = memory_file("some.img");
    must(file->write(0, pattern(100, 1)));
    std::vector<u8> bytes(50);
    const auto result = file->read(80, bytes);
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::io);
    for (const char* part : {"some.img", "50 bytes", "byte 80", "byte 100"}) CHECK(mentions(result.error(), part));
}

TEST_CASE("what is no image file is refused") {
    TemporaryFolder folder;
    ::mkfifo((folder / "pipe").c_str(), 0600);
    const auto kind = [](const std::string& path) {
        const auto result = HostFile::open(path, FileAccess::read);
        REQUIRE_FALSE(result);
        CHECK(is_one_line(result.error()));
        CHECK(mentions(result.error(), path));
        return result.error().kind;
    };
    CHECK(kind(folder / "none") == ErrorKind::not_found);
    CHECK(kind(folder / "none/none") == ErrorKind::not_found);
    CHECK(kind(folder.path()) == ErrorKind::bad_format);
    CHECK(kind(folder / "pipe") == ErrorKind::bad_format);
    CHECK(kind("/dev/null") == ErrorKind::bad_format);
    CHECK(HostFile::open(folder.path(), FileAccess::read_write).error().kind == ErrorKind::bad_format);
}

TEST_CASE("one writer, or any number of readers") {
    TemporaryFolder folder;
    write_content(folder / "a", pattern(512, 1));
    const auto open = [&](FileAccess access) { return HostFile::open(folder / "a", access); };
    {
        auto writer = must(open(FileAccess::read_write));
        CHECK(open(FileAccess::read_write).error().kind == ErrorKind::locked);
        CHECK(open(FileAccess::read).error().kind == ErrorKind::locked);
    }
    {
        auto reader = must(open(FileAccess::read));
        auto another = must(open(FileAccess::read));
        CHECK(open(FileAccess::read_write).error().kind == ErrorKind::locked);
    }
    CHECK(open(FileAccess::read_write).ok());
}

TEST_CASE("zeroing and holes") {
    TemporaryFolder folder;
    write_content(folder / "a", pattern(256 * kKiB, 1));
    auto file = must(HostFile::open(folder / "a", FileAccess::read_write));
    auto expected = pattern(256 * kKiB, 1);
    for (const HostSpace space : {HostSpace::release, HostSpace::keep}) {
        const size_t at = space == HostSpace::keep ? 1000 : 64 * kKiB;
        must(file->zero(at, 100'000, space));
        std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), 100'000, u8{0});
        CHECK(content_of(*file) == expected);
    }
    must(file->truncate(kMiB));
    const Extent tail = must(file->extent(512 * kKiB));
    CHECK(tail.length == 512 * kKiB);
    must(file->allocate(2 * kMiB));
    CHECK(must(file->size()) == 2 * kMiB);
    CHECK(must(file->host_space()) >= kMiB);
}

TEST_CASE("a file that may not grow fails with the place") {
    TemporaryFolder folder;
    write_content(folder / "a", pattern(512, 1));
    auto file = must(HostFile::open(folder / "a", FileAccess::read_write));
    const auto result = file->write(~u64{0} >> 1, pattern(512, 1));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == ErrorKind::io);
    CHECK(mentions(result.error(), "cannot write 512 bytes at byte"));
    CHECK(content_of(*file) == pattern(512, 1));
}

TEST_CASE("a new file appears when it is complete, or never") {
    TemporaryFolder folder;
    {
        auto made = must(NewFile::create(folder / "a", false));
        must(made->take_file()->write(0, pattern(10, 1)));
        CHECK_FALSE(std::filesystem::exists(folder / "a"));
    }
    CHECK(folder.entries() == 0);
    auto made = must(NewFile::create(folder / "a", false));
    must(made->take_file()->write(0, pattern(10, 1)));
    must(made->commit());
    CHECK(content_of(folder / "a") == pattern(10, 1));
    CHECK(folder.entries() == 1);
}

TEST_CASE("a new file replaces another only when told to, and in one step") {
    TemporaryFolder folder;
    write_content(folder / "a", pattern(10, 1));
    std::filesystem::create_symlink("a", folder / "link");
    CHECK(NewFile::create(folder / "a", false).error().kind == ErrorKind::usage);
    CHECK(NewFile::create(folder.path(), true).error().kind == ErrorKind::usage);
    CHECK(NewFile::create(folder / "none/a", true).error().kind == ErrorKind::not_found);
    {
        auto in_use = must(HostFile::open(folder / "a", FileAccess::read));
        CHECK(NewFile::create(folder / "a", true).error().kind == ErrorKind::locked);
    }
    auto made = must(NewFile::create(folder / "link", true));
    must(made->take_file()->write(0, pattern(20, 2)));
    CHECK(content_of(folder / "a") == pattern(10, 1));
    must(made->commit());
    CHECK(content_of(folder / "a") == pattern(20, 2));
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(folder.entries() == 2);
}

TEST_CASE("a name that is taken in the meantime is not taken over") {
    TemporaryFolder folder;
    auto made = must(NewFile::create(folder / "a", false));
    write_content(folder / "a", pattern(10, 1));
    CHECK_FALSE(made->commit());
    CHECK(content_of(folder / "a") == pattern(10, 1));
}

TEST_CASE("the same file by two names") {
    TemporaryFolder folder;
    write_content(folder / "a", pattern(10, 1));
    write_content(folder / "b", pattern(10, 1));
    std::filesystem::create_hard_link(folder / "a", folder / "c");
    std::filesystem::create_symlink("a", folder / "d");
    CHECK(same_file(folder / "a", folder / "c"));
    CHECK(same_file(folder / "a", folder / "d"));
    CHECK_FALSE(same_file(folder / "a", folder / "b"));
    CHECK_FALSE(same_file(folder / "a", folder / "none"));
}

TEST_CASE("sizes for people") {
    CHECK(size_for_people(0) == "0 bytes");
    CHECK(size_for_people(1536) == "1.5 KiB");
    CHECK(size_for_people(2 * kMiB) == "2 MiB");
    CHECK(size_for_people(2040 * kGiB) == "1.992 TiB");
}
