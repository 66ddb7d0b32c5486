// Options that several commands have. They write into the request itself, which
// must live as long as the CLI::App. A bad value throws CLI::ValidationError,
// which ends brokerctl with kUsage.

#pragma once

#include <google/protobuf/duration.pb.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "socketbroker/v1/connection.pb.h"

namespace brokerctl {

// A number with a unit: "500ms", "30s", "5m", "2h", "30d", "1.5h".
google::protobuf::Duration ParseDuration(const std::string& option,
                                         const std::string& text);

// Whether the text is valid UTF-8, as protobuf wants its strings.
bool IsUtf8(std::string_view text);

// `field` says where the value belongs; it is called only when there is one.
CLI::Option* AddDuration(
    CLI::App& app, const std::string& name,
    const std::function<google::protobuf::Duration*()>& field,
    const std::string& description);

// A whole number, at least `least`. CLI11 would take "-1" as 2^64 - 1.
CLI::Option* AddNumber(CLI::App& app, const std::string& name, uint64_t least,
                       const std::function<void(uint64_t)>& set,
                       const std::string& description);

// An option that may be given many times, with one value each.
CLI::Option* AddRepeated(CLI::App& app, const std::string& name,
                         const std::function<void(const std::string&)>& add,
                         const std::string& description);

// Makes the option, or the argument, take one of a few words only: --help shows
// them, and the shells complete them.
void SetChoices(CLI::Option* option, const std::vector<std::string>& choices);

// --account, --session-hash or --api-token-id, --label, --group, --expires-in.
void AddIdentity(CLI::App& app, socketbroker::v1::Identity* identity);

// Binds an option to a setter, so that a field is present when it was given.
template <typename Set>
CLI::Option* AddField(CLI::App& app, const std::string& name, Set set,
                      const std::string& description) {
  return app.add_option_function<std::string>(
      name, [set](const std::string& value) { set(value); }, description);
}

template <typename Request>
CLI::Option* AddConnectionId(CLI::App& app, Request* request) {
  return AddField(
             app, "connection_id",
             [request](const auto& id) { request->set_connection_id(id); },
             "The connection")
      ->required();
}

template <typename Request>
CLI::Option* AddNamespace(CLI::App& app, Request* request,
                          const std::string& when_unset) {
  return AddField(
      app, "--namespace",
      [request](const auto& name) { request->set_namespace_(name); },
      "Where; without it " + when_unset);
}

// --filter, for looking: without it everything is looked at.
template <typename Request>
CLI::Option* AddFilter(CLI::App& app, Request* request) {
  return AddField(
      app, "--filter",
      [request](const auto& text) { request->set_filter(text); },
      "Which connections, such as 'account_id = \"a1\"'; without it all");
}

template <typename Request>
void AddStates(CLI::App& app, Request* request) {
  using socketbroker::v1::ConnectionState;
  const auto add = [request](const std::string& name) {
    request->add_states(
        name == "pending"    ? ConnectionState::CONNECTION_STATE_PENDING
        : name == "admitted" ? ConnectionState::CONNECTION_STATE_ADMITTED
                             : ConnectionState::CONNECTION_STATE_CLOSING);
  };
  SetChoices(AddRepeated(app, "--state", add,
                         "Only in this state; may be given many times"),
             {"pending", "admitted", "closing"});
}

template <typename Request>
CLI::Option* AddExcludes(CLI::App& app, Request* request) {
  return AddRepeated(
      app, "--exclude",
      [request](const std::string& id) {
        request->add_exclude_connection_ids(id);
      },
      "A connection to leave out; may be given many times");
}

}  // namespace brokerctl
