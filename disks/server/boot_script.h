// iPXE scripts: what a plan looks like to a client's iPXE (1.0.0 of 2019 and later).
//
// What people wrote (names, messages) is made harmless first. How iPXE reads a line (its src/core/exec.c and
// src/image/script.c): a backslash at its end continues it; it is split at white space; `||`, `&&` and `;` that stand
// alone end a command, and a word that begins with `#` the line; `${` begins a setting, within each word; options are
// recognised until the first word that is none.
#pragma once

#include <string>

#include "disks/server/boot_plan.h"

namespace lodge::server {

// How the client reaches us.
struct BootSite {
    std::string authority;  // HOST[:PORT] of its HTTP requests
    u16 iscsi_port = 3260;
    // The iBFT carries a gateway to the operating system, and Windows then sends the disk's traffic there even if the
    // server is next door (github.com/ipxe/ipxe issue 1599): there, the client must not know of one.
    bool clear_gateway = false;
    std::string repeat;  // what the client's next query is to say too: &NAME=VALUE..., with ${settings} of iPXE's
};

// With which it logs in.
struct BootSecret {
    std::string name;
    std::string secret;
};

// `secret` is used by a plan of kind `boot` only.
std::string boot_script(const BootPlan& plan, const BootRequest& request, const BootSite& site,
                        const Settings& settings, const BootSecret& secret);

// One line for people, as words of a script that mean themselves: printable ASCII, at most 200 characters.
std::string script_text(const std::string& text);

// What a DHCP server names as the boot file for clients that run iPXE (which puts in the settings in ${}).
std::string boot_script_url(const std::string& authority);

}  // namespace lodge::server
