#include "disks/server/http_server.h"

#include "disks/server/api_handler.h"
#include "disks/server/boot_service.h"
#include "disks/server/http_guard.h"
#include "disks/server/http_listener.h"
#include "disks/server/http_page.h"

namespace lodge::server {

namespace {

using Request = HttpListener::Request;
using Response = HttpListener::Response;

constexpr size_t kLongestPath = 1024;
const std::string kApi = "/api/v1/";
const std::string kJson = "application/json";

// Nothing from elsewhere, no inline script, no frame of somebody's.
constexpr const char* kContentPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void set_error(Response& response, int status, const std::string& kind, const std::string& why) {
    response.status = status;
    response.set_content(api_error(kind, why), kJson);
}

bool has_body(const Request& request) {
    return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

bool is_known_method(const std::string& method) {
    for (const char* each : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
        if (method == each) return true;
    return false;
}

// What no request of ours is like. A body in a compression could grow without bound when httplib unpacks it.
bool refuse_odd(const Request& request, Response& response) {
    const bool reads = request.method == "GET" || request.method == "HEAD";
    const std::string type = request.get_header_value("Content-Type");
    if (!is_known_method(request.method))
        set_error(response, 405, "usage", "there is no method " + request.method + " here");
    else if (request.path.size() > kLongestPath || request.path.find_first_of("\r\n") != std::string::npos)
        set_error(response, 414, "usage", "the path is too long, or has line ends");
    else if (request.has_header("Content-Encoding"))
        set_error(response, 415, "usage", "a body comes as it is, without Content-Encoding");
    else if (reads && has_body(request) && request.get_header_value("Content-Length") != "0")
        set_error(response, 400, "usage", request.method + " takes no body");
    else if (!reads && !type.empty() && type.substr(0, type.find(';')) != kJson)
        set_error(response, 415, "usage", "a body is JSON: Content-Type: application/json");
    else
        return false;
    return true;
}

class Server final : public WebServer {
  public:
    Server(const WebConfig& config, Store& store, Live& live, Log& log)
        : store_(store),
          log_(log),
          guard_(config.administer_from_anywhere),
          boot_(store, live, config.iscsi_port),
          api_(ApiHandler::create({config.administer_from_anywhere}, store, live)),
          listener_(config.threads,
                    {[this](const Request& request, Response& response) { return early(request, response); },
                     [this](const Request& request, Response& response) { call_api(request, response); }}) {}

    Result<void> start(const WebConfig& config) {
        const auto port = listener_.start(config.address, config.port);
        if (!port) return port.error();
        port_ = *port;
        return {};
    }

    u16 port() const override { return port_; }

  private:
    bool early(const Request& request, Response& response);
    void boot_script(const Request& request, Response& response);
    bool admit(const Request& request, Response& response);
    void call_api(const Request& request, Response& response);
    static void send_page(const Request& request, Response& response);

    Store& store_;
    Log& log_;
    AdminGuard guard_;
    BootService boot_;
    std::unique_ptr<ApiHandler> api_;
    u16 port_ = 0;
    HttpListener listener_;  // the last: its threads use the others
};

void Server::boot_script(const Request& request, Response& response) {
    const BootQuery query{{request.params.begin(), request.params.end()},
                          request.get_header_value("Host"),
                          request.remote_addr,
                          request.local_addr,
                          static_cast<u16>(request.local_port)};
    response.set_header("Cache-Control", "no-store");
    response.set_content(boot_.script(query), "text/plain");
}

bool Server::admit(const Request& request, Response& response) {
    const bool changes = request.method != "GET" && request.method != "HEAD";
    const auto settings = store_.settings();
    if (!settings) {
        set_error(response, 500, "io", settings.error().context);
        return false;
    }
    const auto refusal = guard_.refusal(
        {request.remote_addr, request.get_header_value("Host"), request.get_header_value("Authorization"), changes,
         !request.get_header_value("X-Lodge").empty()},
        settings->admin_password_hash);
    if (!refusal) return true;
    set_error(response, refusal->status, "forbidden", refusal->why);
    if (refusal->status == 401) response.set_header("WWW-Authenticate", "Basic realm=\"lodge\", charset=\"UTF-8\"");
    if (refusal->status == 429) response.set_header("Retry-After", "1");
    log_.write(LogChannel::server, LogLevel::info, "%s %s from %s is refused: %s", request.method.c_str(),
               request.path.c_str(), request.remote_addr.c_str(), refusal->why.c_str());
    return false;
}

void Server::call_api(const Request& request, Response& response) {
    const ApiAnswer answer = api_->handle({request.method,
                                           request.path.substr(kApi.size()),
                                           {request.params.begin(), request.params.end()},
                                           request.body,
                                           request.remote_addr});
    response.status = answer.status;
    if (!answer.allowed.empty()) response.set_header("Allow", answer.allowed);
    response.set_content(answer.body, kJson);
}

void Server::send_page(const Request& request, Response& response) {
    for (const PageFile& each : page_files()) {
        if (each.path != request.path) continue;
        response.set_content(each.content.data(), each.content.size(), std::string(each.type));
        return;
    }
    set_error(response, 404, "not_found", "there is no " + request.path + " here");
}

bool Server::early(const Request& request, Response& response) {
    response.set_header("X-Content-Type-Options", "nosniff");
    response.status = 200;
    const bool reads = request.method == "GET" || request.method == "HEAD";
    if (refuse_odd(request, response)) return true;
    if (reads && request.path == "/boot.ipxe") {
        boot_script(request, response);
        return true;
    }
    response.set_header("Content-Security-Policy", kContentPolicy);
    response.set_header("Cross-Origin-Resource-Policy", "same-origin");
    response.set_header("Referrer-Policy", "no-referrer");
    response.set_header("Cache-Control", "no-store");
    if (!admit(request, response)) return true;
    if (!request.path.starts_with(kApi)) {
        if (reads)
            send_page(request, response);
        else
            set_error(response, 405, "usage", "only the API takes " + request.method);
        return true;
    }
    if (!reads) return false;  // with its body
    call_api(request, response);
    return true;
}

}  // namespace

Result<std::unique_ptr<WebServer>> WebServer::create(const WebConfig& config, Store& store, Live& live, Log& log) {
    const auto settings = store.settings();
    if (!settings) return settings.error();
    if (config.administer_from_anywhere && settings->admin_password_hash.empty())
        return Error{ErrorKind::usage, "administration from anywhere needs a password first"};
    auto server = std::make_unique<Server>(config, store, live, log);
    LODGE_TRY(server->start(config));
    return std::unique_ptr<WebServer>(std::move(server));
}

}  // namespace lodge::server
