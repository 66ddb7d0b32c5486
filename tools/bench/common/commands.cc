#include "tools/bench/common/commands.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tools/bench/common/net.h"

namespace bench {

Command::Command(std::string_view line) {
  size_t at = line.find(' ');
  name_ = std::string(line.substr(0, at));
  while (at != std::string_view::npos) {
    line.remove_prefix(at + 1);
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) return;
    const std::string key(line.substr(0, equals));
    line.remove_prefix(equals + 1);
    // The one value that has spaces in it is the last.
    at = key == "filter" ? std::string_view::npos : line.find(' ');
    values_[key] = std::string(line.substr(0, at));
  }
}

uint64_t Command::Number(const std::string& key, uint64_t otherwise) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return otherwise;
  return std::strtoull(found->second.c_str(), nullptr, 10);
}

double Command::Real(const std::string& key, double otherwise) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return otherwise;
  return std::strtod(found->second.c_str(), nullptr);
}

std::string Command::Text(const std::string& key,
                          const std::string& otherwise) const {
  const auto found = values_.find(key);
  return found == values_.end() ? otherwise : found->second;
}

CommandInput::CommandInput() {
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
}

bool CommandInput::Read() {
  char buffer[4096];
  for (;;) {
    const ssize_t size = read(0, buffer, sizeof buffer);
    if (size > 0) {
      pending_.append(buffer, static_cast<size_t>(size));
    } else {
      return size < 0 && (errno == EAGAIN || errno == EINTR);
    }
  }
}

std::optional<Command> CommandInput::Next() {
  const size_t end = pending_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  Command command(std::string_view(pending_).substr(0, end));
  pending_.erase(0, end + 1);
  return command;
}

void Answer::Key(std::string_view key) {
  if (text_.size() > 1) text_ += ',';
  text_.append("\"").append(key).append("\":");
}

Answer& Answer::Add(std::string_view key, uint64_t value) {
  Key(key);
  text_ += std::to_string(value);
  return *this;
}

Answer& Answer::Add(std::string_view key, double value) {
  Key(key);
  text_ += std::to_string(value);
  return *this;
}

Answer& Answer::Add(std::string_view key, std::string_view text) {
  Key(key);
  text_ += '"';
  for (const char c : text) {
    const bool plain = c >= ' ' && c != '"' && c != '\\';
    text_ += plain ? c : '\'';
  }
  text_ += '"';
  return *this;
}

Answer& Answer::Add(std::string_view key,
                    const std::map<std::string, uint64_t>& counts) {
  Key(key);
  text_ += '{';
  for (const auto& [name, count] : counts) {
    if (text_.back() != '{') text_ += ',';
    text_.append("\"").append(name).append("\":").append(std::to_string(count));
  }
  text_ += '}';
  return *this;
}

void Answer::Send() {
  text_ += "}\n";
  if (std::fwrite(text_.data(), 1, text_.size(), stdout) != text_.size() ||
      std::fflush(stdout) != 0) {
    Die("stdout");
  }
}

}  // namespace bench
