// The commands about clients and what they may use.
#include <fmt/format.h>

#include "frontend/vdisk_arguments.h"
#include "frontend/vdisk_output.h"

namespace lodge {

namespace {

struct ClientArguments {
    std::string mac;
    CLI::Option *name = nullptr, *uuid = nullptr, *initiators = nullptr, *secret = nullptr, *target_secret = nullptr,
                *trusted = nullptr;
    std::string name_text, uuid_text, secret_text, target_secret_text;
    std::vector<std::string> initiator_names;
    bool no_secret = false;

    void add_to(CLI::App& command) {
        command.add_option("MAC", mac, "the address of its network card")->required();
        name = command.add_option("--name", name_text, "for people");
        uuid = command.add_option("--uuid", uuid_text, "of its firmware");
        initiators =
            command.add_option("--initiator", initiator_names,
                               "a further iSCSI name of it, for an initiator with a name of its own; may repeat");
        secret =
            command.add_option("--secret", secret_text,
                               "12 or more characters, or @FILE: an initiator that boots without our script proves "
                               "itself with it (CHAP); '': none");
        target_secret = command.add_option("--target-secret", target_secret_text,
                                           "the same for the server, if the initiator asks for it (mutual CHAP)");
        trusted = command.add_flag("--no-secret,!--with-secret", no_secret,
                                   "its initiator's name is proof enough: only for a network where nobody lies");
    }

    Result<void> apply_to(server::Client& client) const {
        if (*name) client.name = name_text;
        if (*uuid) client.uuid = uuid_text;
        if (*initiators) {
            client.initiators = initiator_names;
            std::erase(client.initiators, "");
        }
        if (*trusted) client.trusted = no_secret;
        if (*secret) {
            auto text = text_or_file(secret_text);
            if (!text) return text.error();
            client.chap_secret = std::move(*text);
        }
        if (*target_secret) {
            auto text = text_or_file(target_secret_text);
            if (!text) return text.error();
            client.target_secret = std::move(*text);
        }
        return {};
    }
};

void add_client_add(CLI::App& parent, int& exit_status) {
    const auto arguments = std::make_shared<ClientArguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        server::Client client;
        client.mac = arguments->mac;
        LODGE_TRY(arguments->apply_to(client));
        const auto added = opened->administration.add_client(client);
        return added ? Result<void>() : Result<void>(added.error());
    };
    arguments->add_to(*add_store_command(parent, "add", "make a client known", exit_status, work));
}

void add_client_change(CLI::App& parent, int& exit_status) {
    const auto arguments = std::make_shared<ClientArguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        auto client = opened->store->client(server::normal_mac(arguments->mac));
        if (!client) return client.error();
        LODGE_TRY(arguments->apply_to(*client));
        return opened->administration.change_client(*client);
    };
    arguments->add_to(*add_store_command(parent, "change", "change what is said of a client", exit_status, work));
}

void add_client_remove(CLI::App& parent, int& exit_status) {
    const auto mac = std::make_shared<std::string>();
    const auto work = [mac](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        return opened->administration.remove_client(*mac);
    };
    add_store_command(parent, "remove", "forget a client and its assignments", exit_status, work)
        ->add_option("MAC", *mac, "the client")
        ->required();
}

void add_client_list(CLI::App& parent, int& exit_status) {
    struct Arguments {
        std::string mac;
        bool json = false;
        bool secrets = false;
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        auto content = read_store(*opened->store);
        if (!content) return content.error();
        if (!arguments->mac.empty()) {
            auto client = opened->store->client(server::normal_mac(arguments->mac));
            if (!client) return client.error();
            content->clients = {std::move(*client)};
        }
        const auto secrets = arguments->secrets ? Secrets::show : Secrets::hide;
        arguments->json ? print_clients_json(*content, secrets) : print_clients(*content);
        return {};
    };
    CLI::App* command = add_store_command(parent, "list", "list the clients", exit_status, work);
    command->add_option("MAC", arguments->mac, "only this one");
    command->add_flag("--json", arguments->json, "as a JSON object");
    command->add_flag("--secrets", arguments->secrets, "with their secrets, in JSON");
}

void add_assign(CLI::App& vdisk, int& exit_status) {
    struct Arguments {
        server::Assignment assignment;
        std::string mode = "private";
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        const auto mode = server::mode_of(arguments->mode);
        if (!mode) return Error{ErrorKind::usage, "mode '" + arguments->mode + "' is not private or shared"};
        arguments->assignment.mode = *mode;
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        return opened->administration.assign(arguments->assignment);
    };
    CLI::App* command = add_store_command(vdisk, "assign", "let a client use a vDisk", exit_status, work);
    command->add_option("MAC", arguments->assignment.mac, "the client")->required();
    command->add_option("VDISK", arguments->assignment.vdisk, "the vDisk")->required();
    command->add_option(
        "--mode", arguments->mode,
        "private: its writes persist, one client at a time; shared: they are thrown away when it boots");
    command->add_option("--order", arguments->assignment.order, "place in its boot menu, ascending");
}

void add_unassign(CLI::App& vdisk, int& exit_status) {
    struct Arguments {
        std::string mac, vdisk;
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        return opened->administration.unassign(arguments->mac, arguments->vdisk);
    };
    CLI::App* command = add_store_command(vdisk, "unassign", "take a vDisk from a client", exit_status, work);
    command->add_option("MAC", arguments->mac, "the client")->required();
    command->add_option("VDISK", arguments->vdisk, "the vDisk")->required();
}

}  // namespace

void add_vdisk_clients(CLI::App& vdisk, int& exit_status) {
    CLI::App* client = vdisk.add_subcommand("client", "add, change, remove and list clients");
    client->require_subcommand(1);
    add_client_add(*client, exit_status);
    add_client_change(*client, exit_status);
    add_client_remove(*client, exit_status);
    add_client_list(*client, exit_status);
    add_assign(vdisk, exit_status);
    add_unassign(vdisk, exit_status);
}

}  // namespace lodge
