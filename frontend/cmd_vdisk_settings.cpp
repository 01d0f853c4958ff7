// The commands about what holds for the whole store, and what happened in it.
#include <fmt/format.h>

#include "frontend/disk_arguments.h"
#include "frontend/vdisk_arguments.h"
#include "frontend/vdisk_output.h"

namespace lodge {

namespace {

void add_default(CLI::App& vdisk, int& exit_status) {
    struct Arguments {
        std::string vdisk;
        bool none = false;
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        if (arguments->vdisk.empty() != arguments->none)
            return Error{ErrorKind::usage, "name the default vDisk, or say --none"};
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        auto settings = opened->store->settings();
        if (!settings) return settings.error();
        settings->default_vdisk = arguments->vdisk;
        // Otherwise nobody would get it.
        if (!arguments->none && settings->unknown_clients == server::UnknownClients::refuse)
            settings->unknown_clients = server::UnknownClients::fallback;
        return opened->administration.change_settings(*settings);
    };
    CLI::App* command = add_store_command(
        vdisk, "default", "give unknown clients a vDisk, shared, instead of refusing them", exit_status, work);
    command->add_option("VDISK", arguments->vdisk, "the vDisk");
    command->add_flag("--none", arguments->none, "no default vDisk from now on");
}

struct SettingsArguments {
    CLI::Option *unknown = nullptr, *menu = nullptr, *cache = nullptr, *memory = nullptr, *quota = nullptr,
                *discovery = nullptr;
    std::string unknown_text, cache_text, memory_text, quota_text, discovery_text;
    u32 menu_seconds = 0;
    bool json = false;

    void add_to(CLI::App& command) {
        unknown = command.add_option("--unknown", unknown_text,
                                     "clients without a record: refuse; default (they get the default vDisk, shared); "
                                     "register (they are recorded, and get the default vDisk if there is one)");
        menu = command.add_option("--menu-seconds", menu_seconds,
                                  "how long the menu of a client with several vDisks waits; 0: for ever");
        cache = command.add_option("--cache", cache_text, "where the writes to shared vDisks go: disk or memory");
        memory = command.add_option("--cache-memory", memory_text,
                                    "of each client's cache in memory (N, NK, NM, NG); more goes to disk");
        quota = command.add_option("--cache-quota", quota_text, "of each client's cache; 0: as large as the vDisk");
        discovery = command.add_option("--open-discovery", discovery_text,
                                       "yes: initiators that are nobody's may list targets; no");
        command.add_flag("--json", json, "print as a JSON object");
    }

    Result<void> apply_to(server::Settings& settings) const {
        if (*unknown) {
            const auto policy = server::unknown_clients_of(unknown_text);
            if (!policy) return Error{ErrorKind::usage, "'" + unknown_text + "' is not refuse, default or register"};
            settings.unknown_clients = *policy;
        }
        if (*menu) settings.menu_seconds = menu_seconds;
        if (*cache) {
            if (cache_text != "disk" && cache_text != "memory")
                return Error{ErrorKind::usage, "cache '" + cache_text + "' is not disk or memory"};
            settings.cache = cache_text == "disk" ? server::CacheKind::disk : server::CacheKind::memory;
        }
        LODGE_TRY(apply_size(memory, memory_text, settings.cache_memory));
        LODGE_TRY(apply_size(quota, quota_text, settings.cache_quota));
        if (*discovery) {
            if (discovery_text != "yes" && discovery_text != "no")
                return Error{ErrorKind::usage, "open-discovery '" + discovery_text + "' is not yes or no"};
            settings.open_discovery = discovery_text == "yes";
        }
        return {};
    }

    static Result<void> apply_size(CLI::Option* option, const std::string& text, u64& size) {
        if (!*option) return {};
        const auto parsed = parse_size(text);
        if (!parsed) return parsed.error();
        size = *parsed;
        return {};
    }
};

void add_settings(CLI::App& vdisk, int& exit_status) {
    const auto arguments = std::make_shared<SettingsArguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        auto settings = opened->store->settings();
        if (!settings) return settings.error();
        LODGE_TRY(arguments->apply_to(*settings));
        LODGE_TRY(opened->administration.change_settings(*settings));
        arguments->json ? print_settings_json(*settings) : print_settings(*settings);
        return {};
    };
    arguments->add_to(*add_store_command(vdisk, "settings", "show the settings, or change some", exit_status, work));
}

void add_log(CLI::App& vdisk, int& exit_status) {
    const auto lines = std::make_shared<u32>(50);
    const auto work = [lines](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        const auto entries = opened->store->log(0, *lines);
        if (!entries) return entries.error();
        print_log(*entries);
        return {};
    };
    add_store_command(vdisk, "log", "show what happened: who did what", exit_status, work)
        ->add_option("--lines", *lines, "how many, the newest; 50");
}

}  // namespace

void add_vdisk_settings(CLI::App& vdisk, int& exit_status) {
    add_default(vdisk, exit_status);
    add_settings(vdisk, exit_status);
    add_log(vdisk, exit_status);
}

}  // namespace lodge
