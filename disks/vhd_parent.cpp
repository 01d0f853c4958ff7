#include "disks/vhd_parent.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

namespace lodge {

namespace {

namespace fs = std::filesystem;

constexpr u32 kMostPathBytes = 64 * kKiB;  // a locator's text: far above what any host allows
constexpr i64 kTimeTolerance = 2;          // seconds: what FAT rounds times to

enum class ByteOrder { little, big };

void append_utf8(std::string& text, u32 code) {
    const auto put = [&](u32 byte) { text += static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

bool is_high_surrogate(u32 unit) {
    return unit >= 0xD800 && unit < 0xDC00;
}
bool is_low_surrogate(u32 unit) {
    return unit >= 0xDC00 && unit < 0xE000;
}

// Up to the first zero. Half a surrogate pair becomes U+FFFD, which no file is likely to have in its name.
std::string utf8_of_utf16(std::span<const u8> bytes, ByteOrder order) {
    const auto unit_at = [&](size_t i) -> u32 {
        return order == ByteOrder::big ? load_big_endian<u16>(&bytes[i]) : load<u16>(&bytes[i]);
    };
    std::string text;
    for (size_t i = 0; i + 2 <= bytes.size(); i += 2) {
        u32 code = unit_at(i);
        if (code == 0) break;
        if (is_high_surrogate(code) && i + 4 <= bytes.size() && is_low_surrogate(unit_at(i + 2))) {
            code = 0x10000 + ((code - 0xD800) << 10) + (unit_at(i + 2) - 0xDC00);
            i += 2;
        } else if (is_high_surrogate(code) || is_low_surrogate(code)) {
            code = 0xFFFD;
        }
        append_utf8(text, code);
    }
    return text;
}

// The code point at the front of `text` and its length in bytes; nothing where it is not UTF-8.
std::optional<std::pair<u32, size_t>> first_code_point(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<u8>(text[i]); };
    if (byte(0) < 0x80) return std::pair<u32, size_t>{byte(0), 1};
    const size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
    constexpr u32 kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (byte(0) < 0xC0 || byte(0) > 0xF4 || text.size() < length) return {};
    u32 code = byte(0) & (0x7F >> length);
    for (size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return {};
        code = code << 6 | (byte(i) & 0x3F);
    }
    if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
    return std::pair{code, length};
}

std::optional<std::vector<u8>> utf16_of_utf8(std::string_view text, ByteOrder order) {
    std::vector<u8> bytes;
    const auto put = [&](u32 unit) {
        const u8 low = static_cast<u8>(unit), high = static_cast<u8>(unit >> 8);
        bytes.insert(bytes.end(), {order == ByteOrder::big ? high : low, order == ByteOrder::big ? low : high});
    };
    while (!text.empty()) {
        const auto point = first_code_point(text);
        if (!point) return {};
        const auto [code, length] = *point;
        if (code >= 0x10000) {
            put(0xD800 + ((code - 0x10000) >> 10));
            put(0xDC00 + ((code - 0x10000) & 0x3FF));
        } else {
            put(code);
        }
        text.remove_prefix(length);
    }
    return bytes;
}

bool has_drive_letter(std::string_view path) {
    return path.size() >= 2 && path[1] == ':' && ((path[0] | 0x20) >= 'a' && (path[0] | 0x20) <= 'z');
}

// "C:\Disks\base.vhd" and "\\?\C:\Disks\base.vhd" as "/Disks/base.vhd", ".\base.vhd" as "./base.vhd".
std::string host_path(std::string path) {
    if (path.rfind("\\\\?\\", 0) == 0) path.erase(0, 4);
    if (has_drive_letter(path)) path.erase(0, 2);
    std::replace(path.begin(), path.end(), '\\', '/');
    return path;
}

std::string windows_path(std::string path) {
    std::replace(path.begin(), path.end(), '/', '\\');
    return path;
}

int hex_digit(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    const char lower = static_cast<char>(letter | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// "file://localhost/Users/me/My%20disk.vhd" as "/Users/me/My disk.vhd".
std::string path_of_url(std::string_view url) {
    constexpr std::string_view kScheme = "file://";
    if (url.substr(0, kScheme.size()) != kScheme) return {};
    url.remove_prefix(kScheme.size());
    const size_t slash = url.find('/');
    if (slash == std::string_view::npos) return {};
    std::string path;
    for (size_t i = slash; i < url.size() && url[i] != 0; ++i) {
        const bool escaped =
            url[i] == '%' && i + 2 < url.size() && hex_digit(url[i + 1]) >= 0 && hex_digit(url[i + 2]) >= 0;
        path += escaped ? static_cast<char>(hex_digit(url[i + 1]) * 16 + hex_digit(url[i + 2])) : url[i];
        if (escaped) i += 2;
    }
    return path;
}

std::string decoded(u32 platform_code, std::span<const u8> text) {
    switch (platform_code) {
        case kVhdRelativePath:
        case kVhdAbsolutePath:
            return host_path(utf8_of_utf16(text, ByteOrder::little));
        case kVhdMacUrl:
            return path_of_url({reinterpret_cast<const char*>(text.data()), text.size()});
        default:
            return {};  // Mac is an alias record that only a Macintosh can follow; Wi2k and Wi2r are not in use
    }
}

Result<std::string> locator_path(File& file, u64 file_size, const VhdLocator& locator) {
    if (locator.data_length > kMostPathBytes || locator.data_offset > file_size ||
        file_size - locator.data_offset < locator.data_length)
        return std::string{};
    std::vector<u8> text(locator.data_length);
    LODGE_TRY(file.read(locator.data_offset, text));
    return decoded(locator.platform_code, text);
}

bool same_letters(std::string_view first, std::string_view second) {
    const auto lower = [](char letter) { return letter >= 'A' && letter <= 'Z' ? letter | 0x20 : letter; };
    return std::equal(first.begin(), first.end(), second.begin(), second.end(),
                      [&](char a, char b) { return lower(a) == lower(b); });
}

// The path of an existing file, each part of it exactly or else but for case; `path` itself where there is none.
std::string path_ignoring_case(const std::string& path) {
    std::error_code error;
    if (fs::exists(path, error)) return path;
    fs::path found;
    for (const fs::path& part : fs::path(path)) {
        const fs::path exact = found / part;
        if (fs::exists(exact, error)) {
            found = exact;
            continue;
        }
        std::vector<fs::path> alike;
        for (fs::directory_iterator at(found.empty() ? "." : found, error), end; !error && at != end;
             at.increment(error))
            if (same_letters(at->path().filename().string(), part.string())) alike.push_back(at->path());
        if (alike.empty()) return path;
        found = *std::min_element(alike.begin(), alike.end());
    }
    return found.string();
}

fs::path folder_of(const std::string& path) {
    return fs::path(path).parent_path();
}

void add_once(std::vector<std::string>& paths, const fs::path& path) {
    const std::string text = path.lexically_normal().string();
    if (std::find(paths.begin(), paths.end(), text) == paths.end()) paths.push_back(text);
}

// Virtual PC and Hyper-V remember when the parent's file was changed, some others when the parent says it was made.
std::string timestamp_warning(const std::string& child, const FoundParent& parent, u32 expected) {
    const auto changed = time_of_change(parent.path);
    if (!changed) return {};
    const i64 wanted = unix_seconds_of(expected);
    const auto near = [&](i64 time) { return std::abs(time - wanted) <= kTimeTolerance; };
    if (near(*changed) || near(unix_seconds_of(parent.details.vhd->footer.timestamp))) return {};
    return child + ": its parent " + parent.path +
           " has another time stamp than when the child was made; if more than its place has changed, the child's "
           "content is wrong";
}

// What came of the places that were looked at.
struct Search {
    std::vector<std::string> absent;
    std::optional<Error> refused;  // the first file that was there and is not the parent
};

Error not_found(const File& child, const VhdLayout& layout, const Search& search) {
    if (search.refused) return *search.refused;
    std::string text = child.name() + ": its parent";
    for (size_t i = 0; i < search.absent.size(); ++i) text += (i == 0 ? " is not at " : ", nor at ") + search.absent[i];
    if (search.absent.empty()) text += " is not named";
    return Error{ErrorKind::not_found, text + "; put the parent (unique id " +
                                           vhd_id_text(layout.header.parent_unique_id) +
                                           ") there, or name it with 'lodge disk rebase --metadata-only'"};
}

}  // namespace

Result<std::vector<std::string>> parent_candidates(File& child, const VhdLayout& layout) {
    const fs::path folder = folder_of(child.name());
    const auto file_size = child.size();
    if (!file_size) return file_size.error();
    std::vector<std::string> paths, names;
    for (const u32 code : {kVhdRelativePath, kVhdAbsolutePath, kVhdMacUrl}) {
        for (const VhdLocator& locator : layout.header.locators) {
            if (locator.platform_code != code) continue;
            const auto path = locator_path(child, *file_size, locator);
            if (!path) return path.error();
            if (path->empty() || fs::path(*path).filename().empty()) continue;
            add_once(paths, folder / *path);
            names.push_back(fs::path(*path).filename().string());
        }
    }
    const fs::path name = host_path(utf8_of_utf16(layout.header.parent_name, ByteOrder::big));
    if (name.has_filename()) names.push_back(name.filename().string());
    for (const std::string& sibling : names) add_once(paths, folder / sibling);
    return paths;
}

Result<FoundParent> find_parent(File& child, const VhdLayout& layout, const OpenOptions& options,
                                const std::vector<VhdId>& descendants, FileAccess access, Strictness strictness) {
    const VhdId& wanted = layout.header.parent_unique_id;
    if (std::find(descendants.begin(), descendants.end(), wanted) != descendants.end())
        return Error{ErrorKind::bad_format, child.name() + ": its parent is a descendant of it (unique id " +
                                                vhd_id_text(wanted) + "): the chain is a loop"};
    if (descendants.size() >= kMostImagesInChain)
        return Error{ErrorKind::bad_format, child.name() + ": more than " + std::to_string(kMostImagesInChain) +
                                                " images depend on each other; commit or convert some"};
    const auto candidates = parent_candidates(child, layout);
    if (!candidates) return candidates.error();
    Search search;
    const auto refuse = [&](Error error) {
        if (!search.refused) search.refused = std::move(error);
    };
    for (const std::string& candidate : *candidates) {
        FoundParent found;
        found.path = path_ignoring_case(candidate);
        if (same_file(found.path, child.name())) {
            refuse({ErrorKind::bad_format, child.name() + ": names itself as its parent"});
            continue;
        }
        auto file = options.open_file(found.path, access);
        if (!file && file.error().kind == ErrorKind::not_found) {
            search.absent.push_back(candidate);
            continue;
        }
        if (!file && file.error().kind == ErrorKind::locked) return file.error();
        if (!file) {
            refuse(file.error());
            continue;
        }
        OpenOptions look = options;
        look.raw = false;
        auto details = look_at_image(**file, look, strictness);
        if (!details || !details->vhd || details->vhd->footer.unique_id != wanted) {
            const std::string why = !details ? details.error().context
                                             : found.path + ": is not the parent of " + child.name() +
                                                   ", whose unique id is " + vhd_id_text(wanted);
            refuse({details ? ErrorKind::bad_format : details.error().kind, why});
            continue;
        }
        found.file = std::move(*file);
        found.details = std::move(*details);
        found.warning = timestamp_warning(child.name(), found, layout.header.parent_timestamp);
        return found;
    }
    return not_found(child, layout, search);
}

Result<VhdParentLink> link_to_parent(const std::string& child_path, const std::string& parent_path,
                                     const VhdFooter& parent) {
    std::error_code error;
    const fs::path absolute = fs::weakly_canonical(parent_path, error);
    if (error) return Error{ErrorKind::not_found, parent_path + ": has no absolute path: " + error.message()};
    const fs::path child_folder = fs::weakly_canonical(fs::absolute(folder_of(child_path) / ".", error), error);
    const std::string relative = absolute.lexically_relative(child_folder).string();
    VhdParentLink link;
    link.unique_id = parent.unique_id;
    if (const auto changed = time_of_change(parent_path)) link.timestamp = vhd_timestamp(*changed);
    // Windows writes ".\" in front of a path that leads down.
    const std::string below = relative.rfind("..", 0) == 0 ? relative : "./" + relative;
    const auto name = utf16_of_utf8(absolute.filename().string(), ByteOrder::big);
    const auto absolute_text = utf16_of_utf8(windows_path(absolute.string()), ByteOrder::little);
    const auto relative_text = utf16_of_utf8(windows_path(below), ByteOrder::little);
    const std::string both = absolute.string() + relative;
    if (!name || !absolute_text || !relative_text || both.find('\\') != std::string::npos)
        return Error{
            ErrorKind::usage,
            parent_path + ": a VHD cannot name a parent whose path is not UTF-8 or has a backslash; rename it"};
    if (absolute_text->size() > kMostPathBytes || relative_text->size() > kMostPathBytes ||
        name->size() > link.file_name.size())
        return Error{ErrorKind::usage, parent_path + ": a VHD cannot name a parent with so long a path; move it"};
    std::copy(name->begin(), name->end(), link.file_name.begin());
    link.paths = {{kVhdAbsolutePath, *absolute_text}, {kVhdRelativePath, *relative_text}};
    return link;
}

}  // namespace lodge
