// Log: structured lines on stderr. Each has an event name for programs, a
// sentence for people and fields for both.
//
// One JSON object a line, or text when stderr is a terminal. Values may come
// from strangers: whatever they hold, a line stays one line, and an object
// stays an object. There is no level at which a secret may be logged: a ticket,
// a token, a cookie and the query of a request are never a field.
//
// Everything here is thread-safe. A line takes a lock and a write: a shard logs
// what happens rarely, and what a stranger can make happen often goes through a
// LogLimiter.

#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"

namespace broker {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };
// kAuto: text when stderr is a terminal, else JSON.
enum class LogFormat : uint8_t { kAuto, kJson, kText };

// A field's value: a number, a bool or a text. It does not own the text, so it
// lives no longer than the call that it is written in.
class LogValue {
 public:
  template <typename T>
  LogValue(const T& value) {  // NOLINT: a field is written {"key", value}
    if constexpr (std::is_same_v<T, bool>) {
      kind_ = Kind::kBool;
      unsigned_ = value;
    } else if constexpr (std::is_floating_point_v<T>) {
      kind_ = Kind::kDouble;
      double_ = value;
    } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      kind_ = Kind::kSigned;
      signed_ = value;
    } else if constexpr (std::is_integral_v<T>) {
      kind_ = Kind::kUnsigned;
      unsigned_ = value;
    } else {
      text_ = value;
    }
  }

  // As JSON, texts with their quotes. A text is cut at kMaxText bytes.
  void AppendJson(std::string& out) const;
  // As text: quoted only when it would not read as one word.
  void AppendText(std::string& out) const;

  static constexpr size_t kMaxText = 1024;

 private:
  enum class Kind : uint8_t { kText, kBool, kSigned, kUnsigned, kDouble };
  Kind kind_ = Kind::kText;
  union {
    int64_t signed_ = 0;
    uint64_t unsigned_;
    double double_;
  };
  absl::string_view text_;
};

// `key` is a constant in lower_snake_case, and none of `time`, `level`, `event`
// and `message`, which are the line's own.
struct LogField {
  absl::string_view key;
  LogValue value;
};

// `event` is a constant in lower_snake_case, a word that operators search for;
// `sentence` says the same to a person.
void Log(LogLevel level, absl::string_view event, absl::string_view sentence,
         std::initializer_list<LogField> fields = {});

// The same with fields that are known only when it runs.
void Log(LogLevel level, absl::string_view event, absl::string_view sentence,
         absl::Span<const LogField> fields);

// Whether a line of this level is written: for fields that cost something.
bool LogEnabled(LogLevel level);

// At first kInfo and kAuto. Both take effect with the next line.
void SetLogLevel(LogLevel level);
void SetLogFormat(LogFormat format);

// Gives every line, without its end, to `sink` instead of stderr; null: stderr
// again. For tests. The sink runs under the log's lock: it must not log.
using LogSink = std::function<void(absl::string_view line)>;
void SetLogSink(LogSink sink);

// For an event that can come in floods: so many lines a second, and then one
// that says how many were left out. One limiter for one event.
class LogLimiter {
 public:
  explicit LogLimiter(uint32_t lines_per_second,
                      const Clock& clock = Clock::System())
      : lines_per_second_(lines_per_second), clock_(clock) {}

  void Log(LogLevel level, absl::string_view event, absl::string_view sentence,
           std::initializer_list<LogField> fields = {});
  void Log(LogLevel level, absl::string_view event, absl::string_view sentence,
           absl::Span<const LogField> fields);

  // Says how many lines were left out, when a second has passed since. Without
  // it that is said before the event's next line: call it now and then where
  // the flood may be the last of its kind.
  void Flush();

 private:
  struct LeftOut {
    uint64_t lines = 0;
    LogLevel level = LogLevel::kInfo;
    std::string event;
  };
  // What to tell of the second that is over; `lines` is 0 when it is not, or
  // when nothing was left out.
  LeftOut NextSecond(MonotonicTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void Tell(const LeftOut& left_out);

  const uint32_t lines_per_second_;
  const Clock& clock_;
  Mutex mu_;
  MonotonicTime second_ ABSL_GUARDED_BY(mu_){};  // when it began
  uint32_t lines_ ABSL_GUARDED_BY(mu_) = 0;      // written in it
  LeftOut left_out_ ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
