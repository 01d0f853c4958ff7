#include "disks/server/api_handler.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "disks/server/administration.h"
#include "disks/server/api_fields.h"
#include "disks/server/api_json.h"
#include "disks/server/http_password.h"

namespace lodge::server {

namespace {

using nlohmann::json;

constexpr u32 kMostLogLines = 1000, kUsualLogLines = 100;

// What an operation answers: a status and, unless that is 204, a value.
struct Answer {
    json value;
    int status = 200;
};
constexpr int kCreated = 201, kAccepted = 202;

std::string text_of(const json& value) {
    // A name in a database that somebody has damaged may be no UTF-8.
    return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

ApiAnswer answer_of(const Error& error) {
    return {status_of(error.kind), api_error(name_of(error.kind), error.context), {}};
}

struct Call {
    const ApiRequest& request;
    std::vector<std::string> names;  // what the path has where its pattern has *

    std::string who() const { return "API: " + request.address; }
    std::string parameter(const std::string& name) const {
        const auto found = request.parameters.find(name);
        return found == request.parameters.end() ? "" : found->second;
    }
};

std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> parts(1);
    for (const char c : path) {
        if (c == '/')
            parts.emplace_back();
        else
            parts.back() += c;
    }
    return parts;
}

// The names where the pattern has *; nothing: another path.
std::optional<std::vector<std::string>> match(const std::string& pattern, const std::vector<std::string>& path) {
    const auto parts = split(pattern);
    if (parts.size() != path.size()) return {};
    std::vector<std::string> names;
    for (size_t i = 0; i < parts.size(); ++i) {
        if (parts[i] == "*")
            names.push_back(path[i]);
        else if (parts[i] != path[i])
            return {};
    }
    return names;
}

Result<u64> number(const std::string& text, u64 usual) {
    if (text.empty()) return usual;
    u64 value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value > kMostNumber)
        return Error{ErrorKind::usage, "'" + text + "' is no number"};
    return value;
}

// What the image takes in the host's file system.
u64 stored_bytes(const Store& store, const VDisk& vdisk) {
    constexpr u64 kStatBlock = 512;
    struct stat status {};
    const std::string path = store.folder() + "/vdisks/" + vdisk.file;
    return ::stat(path.c_str(), &status) == 0 ? static_cast<u64>(status.st_blocks) * kStatBlock : 0;
}

Result<std::string> mac_of(const std::string& text) {
    std::string mac = normal_mac(text);
    if (mac.empty()) return Error{ErrorKind::usage, "'" + text + "' is no MAC address"};
    return mac;
}

void read_client(ApiFields& fields, Client& client) {
    fields.text("name", client.name);
    fields.text("uuid", client.uuid);
    fields.texts("initiators", client.initiators);
    fields.text("secret", client.chap_secret);
    fields.text("target_secret", client.target_secret);
    fields.flag("no_secret", client.trusted);
}

void read_assignment(ApiFields& fields, Assignment& assignment) {
    fields.word("mode", [&](const std::string& word) {
        const auto mode = mode_of(word);
        assignment.mode = mode.value_or(assignment.mode);
        return mode.has_value();
    });
    fields.number("order", assignment.order);
}

void read_settings(ApiFields& fields, Settings& settings) {
    fields.word("unknown", [&](const std::string& word) {
        const auto policy = unknown_clients_of(word);
        settings.unknown_clients = policy.value_or(settings.unknown_clients);
        return policy.has_value();
    });
    fields.word("cache", [&](const std::string& word) {
        if (word != name_of(CacheKind::disk) && word != name_of(CacheKind::memory)) return false;
        settings.cache = word == name_of(CacheKind::disk) ? CacheKind::disk : CacheKind::memory;
        return true;
    });
    fields.text("default", settings.default_vdisk);
    fields.number("menu_seconds", settings.menu_seconds);
    fields.number("cache_memory", settings.cache_memory);
    fields.number("cache_quota", settings.cache_quota);
    fields.flag("open_discovery", settings.open_discovery);
}

// Where an import may read from: with a password, whatever the server's user may; else only the folder `import` of the
// store, since on this host everybody can ask.
Result<std::string> import_path(const Store& store, const std::string& image, bool anywhere) {
    std::error_code error;
    const auto folder = std::filesystem::weakly_canonical(store.folder() + "/import", error);
    const auto path = std::filesystem::weakly_canonical(folder / image, error);
    if (error) return Error{ErrorKind::not_found, image + ": " + error.message()};
    const auto [end, rest] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
    if (!anywhere && end != folder.end())
        return Error{ErrorKind::usage,
                     "without an administrator's password, images are imported from " + folder.string() + " only"};
    return path.string();
}

template <class T>
json list_of(const std::vector<T>& records) {
    json list = json::array();
    for (const T& each : records) list.push_back(json_of(each));
    return list;
}

class Handler final : public ApiHandler {
  public:
    Handler(const ApiConfig& config, Store& store, Live& live)
        : config_(config), store_(store), live_(live), rates_(live), jobs_(store) {}

    ApiAnswer handle(const ApiRequest& request) override;

  private:
    using Operation = Result<Answer> (Handler::*)(const Call&);
    struct Route {
        const char* method;
        const char* pattern;
        Operation operation;
    };
    static const std::vector<Route>& routes();

    Result<Answer> facts(const Call&);
    Result<Answer> sessions(const Call&);
    Result<Answer> disconnect(const Call&);
    Result<Answer> caches(const Call&);
    Result<Answer> log(const Call&);

    Result<Answer> clients(const Call&);
    Result<Answer> client(const Call&);
    Result<Answer> add_client(const Call&);
    Result<Answer> change_client(const Call&);
    Result<Answer> remove_client(const Call&);

    Result<Answer> vdisks(const Call&);
    Result<Answer> vdisk(const Call&);
    Result<Answer> create_vdisk(const Call&);
    Result<Answer> change_vdisk(const Call&);
    Result<Answer> remove_vdisk(const Call&);

    Result<Answer> assignments(const Call&);
    Result<Answer> assign(const Call&);
    Result<Answer> unassign(const Call&);

    Result<Answer> settings(const Call&);
    Result<Answer> change_settings(const Call&);

    Result<Answer> jobs(const Call&);
    Result<Answer> job(const Call&);
    Result<Answer> start_job(const Call&);
    Result<Answer> cancel_job(const Call&);

    Result<Answer> shown_client(const std::string& mac, int status);
    Result<Answer> shown_vdisk(const std::string& name, int status);
    Administration administration(const Call& call) { return {store_, call.who()}; }

    const ApiConfig config_;
    Store& store_;
    Live& live_;
    RateMeter rates_;
    ImportJobs jobs_;
};

const std::vector<Handler::Route>& Handler::routes() {
    static const std::vector<Route> kRoutes = {
        {"GET", "facts", &Handler::facts},
        {"GET", "sessions", &Handler::sessions},
        {"DELETE", "sessions/*", &Handler::disconnect},
        {"GET", "caches", &Handler::caches},
        {"GET", "log", &Handler::log},
        {"GET", "clients", &Handler::clients},
        {"POST", "clients", &Handler::add_client},
        {"GET", "clients/*", &Handler::client},
        {"PATCH", "clients/*", &Handler::change_client},
        {"DELETE", "clients/*", &Handler::remove_client},
        {"PUT", "clients/*/vdisks/*", &Handler::assign},
        {"DELETE", "clients/*/vdisks/*", &Handler::unassign},
        {"GET", "vdisks", &Handler::vdisks},
        {"POST", "vdisks", &Handler::create_vdisk},
        {"GET", "vdisks/*", &Handler::vdisk},
        {"PATCH", "vdisks/*", &Handler::change_vdisk},
        {"DELETE", "vdisks/*", &Handler::remove_vdisk},
        {"GET", "assignments", &Handler::assignments},
        {"GET", "settings", &Handler::settings},
        {"PATCH", "settings", &Handler::change_settings},
        {"GET", "jobs", &Handler::jobs},
        {"POST", "jobs", &Handler::start_job},
        {"GET", "jobs/*", &Handler::job},
        {"DELETE", "jobs/*", &Handler::cancel_job},
    };
    return kRoutes;
}

ApiAnswer Handler::handle(const ApiRequest& request) {
    const auto path = split(request.path);
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    std::string allowed;
    for (const Route& route : routes()) {
        auto names = match(route.pattern, path);
        if (!names) continue;
        if (method != route.method) {
            allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
            continue;
        }
        const auto answer = (this->*route.operation)({request, std::move(*names)});
        if (!answer) return answer_of(answer.error());
        return {answer->status, text_of(answer->value), {}};
    }
    if (allowed.empty()) return {404, api_error("not_found", "there is no " + request.path + " here"), {}};
    return {405, api_error("usage", request.path + " takes " + allowed), allowed};
}

Result<Answer> Handler::facts(const Call&) {
    const ServerFacts facts = live_.facts();
    return Answer{
        {{"started", facts.started},
         {"now", clock_time()},
         {"store", store_.folder()},
         {"iscsi_address", facts.iscsi_address},
         {"free_bytes", facts.free_bytes},
         {"base_cache",
          {{"bytes", facts.base_cache_bytes}, {"hits", facts.base_cache_hits}, {"misses", facts.base_cache_misses}}}}};
}

Result<Answer> Handler::sessions(const Call&) {
    json list = json::array();
    for (const LiveSession& each : live_.sessions()) list.push_back(json_of(each, rates_.of(each.id)));
    return Answer{{{"sessions", std::move(list)}}};
}

Result<Answer> Handler::disconnect(const Call& call) {
    LODGE_TRY(live_.disconnect(call.names[0]));
    LODGE_TRY(store_.record(clock_time(), call.who(), "disconnected session " + call.names[0]));
    return Answer{json::object(), kAccepted};
}

Result<Answer> Handler::caches(const Call&) {
    return Answer{{{"caches", list_of(live_.caches())}}};
}

Result<Answer> Handler::log(const Call& call) {
    const auto before = number(call.parameter("before"), 0), most = number(call.parameter("most"), kUsualLogLines);
    if (!before) return before.error();
    if (!most) return most.error();
    auto lines = store_.log(static_cast<i64>(*before), static_cast<u32>(std::min<u64>(*most, kMostLogLines)));
    if (!lines) return lines.error();
    return Answer{{{"log", list_of(*lines)}}};
}

Result<Answer> Handler::clients(const Call&) {
    auto clients = store_.clients();
    if (!clients) return clients.error();
    auto assignments = store_.assignments();
    if (!assignments) return assignments.error();
    std::map<std::string, std::vector<Assignment>> by_client;
    for (Assignment& each : *assignments) by_client[each.mac].push_back(std::move(each));
    json list = json::array();
    for (const Client& each : *clients) list.push_back(json_of(each, by_client[each.mac]));
    return Answer{{{"clients", std::move(list)}}};
}

Result<Answer> Handler::shown_client(const std::string& mac, int status) {
    auto client = store_.client(mac);
    if (!client) return client.error();
    auto assignments = store_.assignments_of(mac);
    if (!assignments) return assignments.error();
    return Answer{json_of(*client, *assignments), status};
}

Result<Answer> Handler::client(const Call& call) {
    const auto mac = mac_of(call.names[0]);
    if (!mac) return mac.error();
    return shown_client(*mac, 200);
}

Result<Answer> Handler::add_client(const Call& call) {
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    Client client;
    fields->text("mac", client.mac);
    read_client(*fields, client);
    LODGE_TRY(fields->end());
    auto added = administration(call).add_client(client);
    if (!added) return added.error();
    return shown_client(added->mac, kCreated);
}

Result<Answer> Handler::change_client(const Call& call) {
    const auto mac = mac_of(call.names[0]);
    if (!mac) return mac.error();
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    auto client = store_.client(*mac);
    if (!client) return client.error();
    read_client(*fields, *client);
    LODGE_TRY(fields->end());
    LODGE_TRY(administration(call).change_client(*client));
    return shown_client(*mac, 200);
}

Result<Answer> Handler::remove_client(const Call& call) {
    const auto mac = mac_of(call.names[0]);
    if (!mac) return mac.error();
    LODGE_TRY(administration(call).remove_client(*mac));
    return Answer{json::object()};
}

Result<Answer> Handler::vdisks(const Call&) {
    auto vdisks = store_.vdisks();
    if (!vdisks) return vdisks.error();
    auto settings = store_.settings();
    if (!settings) return settings.error();
    json list = json::array();
    for (const VDisk& each : *vdisks) list.push_back(json_of(each, *settings, stored_bytes(store_, each)));
    return Answer{{{"vdisks", std::move(list)}}};
}

Result<Answer> Handler::shown_vdisk(const std::string& name, int status) {
    auto vdisk = store_.vdisk(name);
    if (!vdisk) return vdisk.error();
    auto settings = store_.settings();
    if (!settings) return settings.error();
    return Answer{json_of(*vdisk, *settings, stored_bytes(store_, *vdisk)), status};
}

Result<Answer> Handler::vdisk(const Call& call) {
    return shown_vdisk(call.names[0], 200);
}

Result<Answer> Handler::create_vdisk(const Call& call) {
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    std::string name, note;
    u64 bytes = 0;
    fields->text("name", name);
    fields->number("bytes", bytes);
    fields->text("note", note, 1024);
    LODGE_TRY(fields->end());
    auto made = administration(call).create_vdisk(name, bytes, note);
    if (!made) return made.error();
    return shown_vdisk(made->name, kCreated);
}

Result<Answer> Handler::change_vdisk(const Call& call) {
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    auto vdisk = store_.vdisk(call.names[0]);
    if (!vdisk) return vdisk.error();
    fields->text("note", vdisk->note, 1024);
    LODGE_TRY(fields->end());
    LODGE_TRY(administration(call).change_note(vdisk->name, vdisk->note));
    return shown_vdisk(vdisk->name, 200);
}

Result<Answer> Handler::remove_vdisk(const Call& call) {
    const std::string force = call.parameter("force");
    LODGE_TRY(administration(call).remove_vdisk(call.names[0], force == "1" || force == "true"));
    return Answer{json::object()};
}

Result<Answer> Handler::assignments(const Call&) {
    auto assignments = store_.assignments();
    if (!assignments) return assignments.error();
    return Answer{{{"assignments", list_of(*assignments)}}};
}

Result<Answer> Handler::assign(const Call& call) {
    const auto mac = mac_of(call.names[0]);
    if (!mac) return mac.error();
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    auto assigned = store_.assignments_of(*mac);
    if (!assigned) return assigned.error();
    // What the body leaves out stays as it is.
    Assignment assignment{*mac, call.names[1], Mode::private_writes, 0};
    for (const Assignment& each : *assigned)
        if (each.vdisk == assignment.vdisk) assignment = each;
    read_assignment(*fields, assignment);
    LODGE_TRY(fields->end());
    LODGE_TRY(administration(call).assign(assignment));
    return Answer{json_of(assignment)};
}

Result<Answer> Handler::unassign(const Call& call) {
    const auto mac = mac_of(call.names[0]);
    if (!mac) return mac.error();
    LODGE_TRY(administration(call).unassign(*mac, call.names[1]));
    return Answer{json::object()};
}

Result<Answer> Handler::settings(const Call&) {
    auto settings = store_.settings();
    if (!settings) return settings.error();
    return Answer{json_of(*settings)};
}

Result<Answer> Handler::change_settings(const Call& call) {
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    auto settings = store_.settings();
    if (!settings) return settings.error();
    read_settings(*fields, *settings);
    std::string password;
    fields->text("password", password);
    LODGE_TRY(fields->end());
    if (fields->has("password") && password.empty()) {
        if (config_.from_anywhere)
            return Error{ErrorKind::usage, "the server can be administered from anywhere, so it keeps its password"};
        settings->admin_password_hash.clear();
    } else if (fields->has("password")) {
        const auto hash = hash_password(password);
        if (!hash) return hash.error();
        settings->admin_password_hash = *hash;
    }
    LODGE_TRY(administration(call).change_settings(*settings));
    return this->settings(call);
}

Result<Answer> Handler::jobs(const Call&) {
    return Answer{{{"jobs", list_of(jobs_.list())}}};
}

Result<Answer> Handler::job(const Call& call) {
    const auto id = number(call.names[0], 0);
    if (!id) return id.error();
    const auto job = jobs_.find(*id);
    if (!job) return job.error();
    return Answer{json_of(*job)};
}

Result<Answer> Handler::start_job(const Call& call) {
    auto fields = ApiFields::parse(call.request.body);
    if (!fields) return fields.error();
    auto settings = store_.settings();
    if (!settings) return settings.error();
    ImportOptions options;
    fields->word("kind", [](const std::string& word) { return word == "import"; });
    fields->text("name", options.name);
    fields->text("image", options.image, 4096);
    fields->flag("raw", options.raw);
    fields->text("note", options.note, 1024);
    LODGE_TRY(fields->end());
    if (options.image.empty()) return Error{ErrorKind::usage, "the field 'image' is missing"};
    const auto path = import_path(store_, options.image, !settings->admin_password_hash.empty());
    if (!path) return path.error();
    options.image = *path;
    const auto job = jobs_.start(call.who(), std::move(options));
    if (!job) return job.error();
    return Answer{json_of(*job), kAccepted};
}

Result<Answer> Handler::cancel_job(const Call& call) {
    const auto id = number(call.names[0], 0);
    if (!id) return id.error();
    LODGE_TRY(jobs_.cancel(*id));
    return Answer{json::object(), kAccepted};
}

}  // namespace

std::unique_ptr<ApiHandler> ApiHandler::create(const ApiConfig& config, Store& store, Live& live) {
    return std::make_unique<Handler>(config, store, live);
}

std::string api_error(const std::string& kind, const std::string& message) {
    return text_of({{"error", {{"kind", kind}, {"message", message}}}});
}

}  // namespace lodge::server
