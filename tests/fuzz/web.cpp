// Any bytes as what the vDisk server's web side is asked: queries for boot scripts, calls of the API, headers. It must
// neither crash nor hang; scripts must be of lines that iPXE reads as meant, answers JSON.
//
// The first byte says what the input is, each following line is one of its strings.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "disks/server/api_handler.h"
#include "disks/server/boot_service.h"
#include "disks/server/http_guard.h"

using namespace lodge;
using namespace lodge::server;

namespace {

constexpr size_t kMostInput = 8192;
constexpr u32 kInputsForAStore = 2000;  // what the inputs add must not add up for ever
constexpr const char* kMac = "52:54:00:12:34:56";

void require(bool condition, int line = __builtin_LINE()) {
    if (condition) return;
    std::fprintf(stderr, "requirement in line %d does not hold\n", line);
    std::abort();
}

class NobodyLives final : public Live {
  public:
    ServerFacts facts() override { return {}; }
    std::vector<LiveSession> sessions() override { return {}; }
    std::vector<CacheUse> caches() override { return {}; }
    Result<void> disconnect(const std::string&) override { return Error{ErrorKind::not_found, "no session"}; }
    std::optional<std::string> in_use(const std::string& vdisk, Mode, const std::string&) override {
        if (vdisk != "busy") return {};
        return "in use";
    }
};

struct Site {
    std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("lodge-fuzz-web-" + std::to_string(::getpid()));
    std::unique_ptr<Store> store;
    NobodyLives live;
    Log log;
    std::unique_ptr<ApiHandler> api;
    std::unique_ptr<BootService> boot;
    u32 inputs = 0;

    ~Site() { std::filesystem::remove_all(folder); }

    void make() {
        api.reset();
        boot.reset();
        store.reset();
        std::filesystem::remove_all(folder);
        auto made = create_store(folder.string());
        require(made.ok());
        store = std::move(*made);
        for (const char* name : {"busy", "debian"})
            require(store->add_vdisk({name, std::string(name) + ".vhd", 1 << 20, "", 1}).ok());
        require(store->add_client({.mac = kMac, .name = "x"}).ok());
        for (const char* name : {"busy", "debian"}) require(store->assign({kMac, name, Mode::private_writes, 0}).ok());
        Settings settings;
        settings.unknown_clients = UnknownClients::take_down;
        settings.default_vdisk = "debian";
        require(store->change_settings(settings).ok());
        api = ApiHandler::create({}, *store, live);
        boot = std::make_unique<BootService>(*store, live, log, 3260);
    }
};

struct Lines {
    std::string text;
    std::string take() {
        const size_t end = text.find('\n');
        std::string line = text.substr(0, end);
        text.erase(0, end == std::string::npos ? text.size() : end + 1);
        return line;
    }
};

// Names and values in turn.
std::multimap<std::string, std::string> parameters_of(Lines& lines) {
    std::multimap<std::string, std::string> parameters;
    while (!lines.text.empty()) {
        std::string name = lines.take();
        parameters.emplace(std::move(name), lines.take());
    }
    return parameters;
}

void check_script(const std::string& script) {
    require(script.starts_with("#!ipxe\n") && script.ends_with('\n'));
    bool word_begins = true;
    for (size_t i = 7; i < script.size(); ++i) {
        const char c = script[i];
        require(c == '\n' || (c >= ' ' && c < 0x7F));
        require(c != '\\');
        if (word_begins) require(c != ';' && c != '#' && c != '&');
        word_begins = c == ' ' || c == '\n';
    }
}

void ask_for_script(Site& site, Lines lines) {
    BootQuery query;
    query.host = lines.take();
    query.client_address = lines.take();
    query.server_address = "192.0.2.1";
    query.server_port = 8080;
    query.parameters = parameters_of(lines);
    check_script(site.boot->script(query));
}

void call_api(Site& site, Lines lines) {
    constexpr const char* kMethods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
    ApiRequest request;
    const std::string method = lines.take();
    request.method = kMethods[method.empty() ? 0 : static_cast<u8>(method[0]) % std::size(kMethods)];
    request.path = lines.take();
    request.parameters = {{"before", lines.take()}, {"most", lines.take()}, {"force", ""}};
    request.address = "192.0.2.7";
    request.body = lines.text;
    // These make files and threads.
    if (request.method == "POST" && (request.path == "vdisks" || request.path == "jobs")) return;
    const ApiAnswer answer = site.api->handle(request);
    require(answer.status >= 200 && answer.status < 600);
    require(nlohmann::json::accept(answer.body));
}

void read_headers(Lines lines) {
    const std::string host = lines.take(), authorization = lines.text;
    const std::string authority = safe_authority(host);
    require(authority.empty() || authority == host);
    require(authority.find_first_of(" \t$\\;|&#/?") == std::string::npos);
    is_loopback_name(host);
    is_loopback_address(host);
    if (const auto password = basic_password(authorization)) require(password->size() < authorization.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t length) {
    static Site site;
    if (length == 0 || length > kMostInput) return 0;
    if (site.inputs++ % kInputsForAStore == 0) site.make();
    const Lines lines{std::string(data + 1, data + length)};
    switch (data[0] % 3) {
        case 0:
            ask_for_script(site, lines);
            break;
        case 1:
            call_api(site, lines);
            break;
        default:
            read_headers(lines);
    }
    return 0;
}
