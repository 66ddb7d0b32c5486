// How the programs are told what to do: one command a line on stdin,
//
//   name key=value key=value ... filter=text up to the end of the line
//
// and for each, one JSON object a line on stdout. A program ends with its
// input, so that none outlives who started it.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace bench {

class Command {
 public:
  explicit Command(std::string_view line);

  const std::string& name() const { return name_; }
  uint64_t Number(const std::string& key, uint64_t otherwise = 0) const;
  double Real(const std::string& key, double otherwise = 0) const;
  std::string Text(const std::string& key,
                   const std::string& otherwise = "") const;

 private:
  std::string name_;
  std::map<std::string, std::string> values_;
};

// stdin, without blocking: the programs serve sockets meanwhile.
class CommandInput {
 public:
  CommandInput();
  int fd() const { return 0; }
  // Reads what is there. False: the input has ended.
  bool Read();
  std::optional<Command> Next();

 private:
  std::string pending_;
};

// One line of JSON on stdout; sent once.
class Answer {
 public:
  Answer& Add(std::string_view key, uint64_t value);
  Answer& Add(std::string_view key, double value);
  Answer& Add(std::string_view key, std::string_view text);
  Answer& Add(std::string_view key,
              const std::map<std::string, uint64_t>& counts);
  void Send();

 private:
  void Key(std::string_view key);
  std::string text_ = "{";
};

}  // namespace bench
