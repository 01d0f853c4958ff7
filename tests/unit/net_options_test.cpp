#include "frontend/net_options.h"

#include <doctest/doctest.h>

namespace lodge {
namespace {

TEST_CASE("--nic") {
    CHECK(!parse_nic_option("none")->present);
    CHECK(parse_nic_option("e1000")->present);
    CHECK(!parse_nic_option("e1000")->address);
    CHECK(*parse_nic_option("e1000,mac=52:54:00:aB:0c:FF")->address == MacAddress{0x52, 0x54, 0, 0xAB, 0x0C, 0xFF});
    for (const char* wrong :
         {"", "rtl8139", "e1000,", "e1000,mac=", "e1000,mac=52:54:00:ab:0c", "e1000,mac=52-54-00-ab-0c-ff",
          "e1000,mac=52:54:00:ab:0c:gg", "e1000,mac=01:00:5e:00:00:01", "e1000,speed=10"})
        CHECK_MESSAGE(!parse_nic_option(wrong), wrong);
}

TEST_CASE("--net") {
    CHECK(parse_net_option("none")->kind == NetKind::none);
    CHECK(parse_net_option("user")->kind == NetKind::user);
    CHECK(parse_net_option("tap=lodge0")->target == "lodge0");
    CHECK(parse_net_option("socket=unix:/run/segment,1")->target == "/run/segment,1");
    const auto user = parse_net_option(
        "user,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.16:5353,tftp=/srv,bootfile=a,ipxe-bootfile=http://b,"
        "root-path=iscsi:10.0.2.2::::iqn.x:d,next-server=10.0.2.9");
    REQUIRE(user);
    REQUIRE(user->user.forwards.size() == 2);
    const PortForward& first = user->user.forwards[0];
    CHECK(!first.udp);
    CHECK(first.host == 0x7F000001);
    CHECK(first.host_port == 2222);
    CHECK(first.guest == 0x0A00020F);
    CHECK(first.guest_port == 22);
    const PortForward& second = user->user.forwards[1];
    CHECK(second.udp);
    CHECK(second.host == 0);
    CHECK(second.guest == 0x0A000210);
    CHECK(user->user.tftp_folder == "/srv");
    CHECK(user->user.dhcp.boot_file == "a");
    CHECK(user->user.dhcp.ipxe_boot_file == "http://b");
    CHECK(user->user.dhcp.root_path == "iscsi:10.0.2.2::::iqn.x:d");
    CHECK(user->user.dhcp.next_server == 0x0A000209);
    for (const char* wrong :
         {"", "bridge", "user,", "user,dhcp=no", "user,tftp", "user,tftp=", "user,hostfwd=tcp::0-:22",
          "user,hostfwd=tcp:22-:22x", "user,hostfwd=sctp::1-:1", "user,hostfwd=tcp::1", "user,hostfwd=tcp::70000-:1",
          "user,hostfwd=tcp:host:1-:1", "user,next-server=x", "socket=tcp:1", "tap"})
        CHECK_MESSAGE(!parse_net_option(wrong), wrong);
    CHECK(!parse_net_option("user,bootfile=" + std::string(128, 'x')));
}

TEST_CASE("which card goes to which network") {
    RunConfig config;
    REQUIRE(plan_network_cards(config)->size() == 1);
    CHECK((*plan_network_cards(config))[0].net.kind == NetKind::user);
    config.nics = {"e1000", "e1000,mac=52:54:00:00:00:09"};
    config.nets = {"tap=a"};
    auto cards = *plan_network_cards(config);
    REQUIRE(cards.size() == 2);
    CHECK(cards[0].net.kind == NetKind::tap);
    CHECK(cards[1].net.kind == NetKind::user);
    CHECK(cards[1].address[5] == 9);
    CHECK(cards[0].address[0] == 0x52);
    config.nics.clear();
    config.nets = {"user", "none", "socket=unix:/x"};
    cards = *plan_network_cards(config);
    CHECK(cards.size() == 2);
    CHECK(cards[0].address != cards[1].address);
    config.nets = {"none"};
    config.nics = {"none"};
    CHECK(plan_network_cards(config)->empty());
    config.nets = {"user"};
    CHECK(!plan_network_cards(config));
    config.nics.assign(9, "e1000");
    CHECK(!plan_network_cards(config));
}

TEST_CASE("a machine's own address follows its name") {
    RunConfig one, other;
    one.machine_file = "/a/web.toml";
    other.machine_file = "/b/database.toml";
    CHECK(default_mac_address(one, 0) != default_mac_address(other, 0));
    CHECK(default_mac_address(one, 0) != default_mac_address(one, 1));
    other.machine_file = "web.toml";
    CHECK(default_mac_address(one, 0) == default_mac_address(other, 0));
    RunConfig disk;
    disk.disks = {"/images/web.vhd,mode=shared"};
    CHECK(default_mac_address(disk, 0) == default_mac_address(one, 0));
}

}  // namespace

TEST_CASE("--vdisk-server") {
    const std::string query = "/boot.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}";
    CHECK(*boot_script_url("127.0.0.1:8080") == "http://10.0.2.2:8080" + query);
    CHECK(*boot_script_url("localhost:1") == "http://10.0.2.2:1" + query);
    CHECK(*boot_script_url("[::1]:8080") == "http://10.0.2.2:8080" + query);
    CHECK(*boot_script_url("vdisks.example.org:80") == "http://vdisks.example.org:80" + query);
    CHECK(*boot_script_url("[2001:db8::1]:80") == "http://[2001:db8::1]:80" + query);
    for (const char* bad : {"", "host", "host:", ":80", "host:0", "host:65536", "http://host:80", "2001:db8::1:80"})
        CHECK_MESSAGE(!boot_script_url(bad), bad);

    RunConfig config;
    config.vdisk_server = "192.0.2.7:8080";
    const auto cards = plan_network_cards(config);
    REQUIRE(cards);
    REQUIRE(cards->size() == 1);
    CHECK((*cards)[0].net.user.dhcp.ipxe_boot_file == "http://192.0.2.7:8080" + query);
    CHECK(first_boot_source(config) == "network");
    config.boot = "disk";
    config.nets = {"tap=lodge0"};
    CHECK(!plan_network_cards(config));
}

}  // namespace lodge
