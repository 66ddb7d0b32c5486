// A service: service TARGET. It greets who calls "greet", adds up what "sum"
// gets, and ends gracefully with its input.

#include "socketbroker/service.h"

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

using nlohmann::json;
using socketbroker::Context;
using socketbroker::Reply;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "service TARGET, such as 127.0.0.1:50051\n";
    return 2;
  }
  socketbroker::Client client(argv[1]);
  socketbroker::ServiceOptions options;
  options.on_started = [] { std::cout << "attached" << std::endl; };
  options.on_error = [](const std::string& what) { std::cerr << what << "\n"; };
  socketbroker::Service service(client, options);

  service.On("greet", [](Context& call) {
    const std::string who = call.message().identity().account_id();
    call.Notify("greeting", json::array({"hello " + who}).dump());
    return Reply::Result(json(who).dump());
  });
  service.On("sum", [](Context& call) {
    int64_t sum = 0;
    for (const json& number : json::parse(call.params_json())) {
      if (!number.is_number_integer()) {
        return Reply::Error(-32602, "sum takes integers");
      }
      sum += number.get<int64_t>();
    }
    return Reply::Result(json(sum).dump());
  });

  std::thread input([&service] {
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    service.Drain();
  });
  const grpc::Status status = service.Run();
  if (!status.ok()) std::cerr << status.error_message() << "\n";
  input.detach();  // it may wait for its input still
  std::cout.flush();
  std::_Exit(status.ok() ? 0 : 1);
}
