#include "broker/admin/admin_server.h"

#include <httplib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/host_port.h"

namespace broker {
namespace {

constexpr int kWorkers = 4;
constexpr size_t kMaxWaiting = 16;
constexpr int kTimeoutSeconds = 2;  // for a read, and for a write

// httplib's own pool queues without limit. When this one is full, whoever
// connects waits in the kernel.
class BoundedWorkers final : public httplib::TaskQueue {
 public:
  BoundedWorkers() {
    for (int i = 0; i < kWorkers; ++i) {
      threads_.emplace_back([this] { Work(); });
    }
  }

  void enqueue(std::function<void()> task) override {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [this] { return tasks_.size() < kMaxWaiting; });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }

  void shutdown() override {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Work() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock<std::mutex> lock(mu_);
        changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
        // What was accepted is served, or its socket would stay open.
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      changed_.notify_all();
      task();
    }
  }

  // Plain, since it is waited on.
  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

uint16_t PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return 0;
}

// Ends the connections that this process accepted on the port. httplib keeps
// its sockets to itself, and would let a client that drips one byte a second
// hold up the end of the process.
void CutOff(uint16_t port) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int end = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
  for (int fd = 0; fd < end; ++fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
        PortOf(address) == port) {
      ::shutdown(fd, SHUT_RDWR);
    }
  }
}

void SetText(httplib::Response& response, int status, const char* text) {
  response.status = status;
  response.set_content(text, "text/plain; charset=utf-8");
}

}  // namespace

class AdminServer::Http {
 public:
  httplib::Server server;
  std::promise<void> running;
  std::thread thread;
  std::future<void> ended;
};

AdminServer::AdminServer(AdminSource source)
    : source_(std::move(source)), http_(std::make_unique<Http>()) {
  httplib::Server& server = http_->server;
  server.Get("/livez", [this](const auto&, httplib::Response& response) {
    source_.live() ? SetText(response, 200, "ok\n")
                   : SetText(response, 503, "not live\n");
  });
  server.Get("/readyz", [this](const auto&, httplib::Response& response) {
    source_.ready() ? SetText(response, 200, "ok\n")
                    : SetText(response, 503, "not ready\n");
  });
  server.Get("/statusz", [this](const auto&, httplib::Response& response) {
    response.set_content(source_.status_json(), "application/json");
  });
  server.Get("/metrics", [this](const auto&, httplib::Response& response) {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, source_.metrics());
    response.set_content(text.str(),
                         "text/plain; version=0.0.4; charset=utf-8");
  });
  // Before httplib reads a body: it holds one in chunks, however long, against
  // no limit (CVE-2025-46728).
  server.set_pre_routing_handler(
      [](const httplib::Request& request, httplib::Response& response) {
        if (request.method == "GET" || request.method == "HEAD") {
          return httplib::Server::HandlerResponse::Unhandled;
        }
        response.set_header("Allow", "GET, HEAD");
        SetText(response, 405, "Only GET and HEAD are known here.\n");
        return httplib::Server::HandlerResponse::Handled;
      });
  server.set_error_handler([](const auto&, httplib::Response& response) {
    if (!response.body.empty()) return;
    SetText(response, response.status,
            response.status == 404
                ? "Known here are /livez, /readyz, /statusz and /metrics.\n"
                : "The request was refused.\n");
  });
  server.set_exception_handler(
      [](const auto&, httplib::Response& response, std::exception_ptr) {
        SetText(response, 500, "The page could not be made.\n");
      });
  server.set_default_headers(
      {{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}});
  // One request a connection: nobody holds a worker by being idle.
  server.set_keep_alive_max_count(1);
  server.set_read_timeout(kTimeoutSeconds);
  server.set_write_timeout(kTimeoutSeconds);
  server.set_payload_max_length(0);
  // httplib's own would let a second broker share the port.
  server.set_socket_options([](int fd) {
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
  // Asked for when the server has come to the point where it can be stopped.
  server.new_task_queue = [http = http_.get()] {
    http->running.set_value();
    return new BoundedWorkers;
  };
}

AdminServer::~AdminServer() { Stop(); }

absl::Status AdminServer::Bind(const std::string& address, uint16_t port) {
  errno = 0;
  int bound = port;
  if (port == 0) {
    bound = http_->server.bind_to_any_port(address, AI_NUMERICHOST);
  } else if (!http_->server.bind_to_port(address, port, AI_NUMERICHOST)) {
    bound = -1;
  }
  if (bound < 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", HostPort(address, port), " for admin: ",
        errno != 0 ? std::strerror(errno) : "it is no address of this host"));
  }
  port_ = static_cast<uint16_t>(bound);
  return absl::OkStatus();
}

void AdminServer::Serve() {
  std::promise<void> ended;
  http_->ended = ended.get_future();
  http_->thread =
      std::thread([http = http_.get(), ended = std::move(ended)]() mutable {
        http->server.listen_after_bind();
        ended.set_value();
      });
  http_->running.get_future().wait();
}

void AdminServer::Stop() {
  if (!http_->thread.joinable()) return;
  http_->server.stop();
  // Again and again: a connection may just be on its way to the workers.
  do {
    CutOff(port_);
  } while (http_->ended.wait_for(std::chrono::milliseconds(20)) !=
           std::future_status::ready);
  http_->thread.join();
}

}  // namespace broker
