// brokerctl completion: the shell's script, written from the tree of commands,
// so that it knows every command and option that there is.

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"

namespace brokerctl {
namespace {

// What may follow a command, and what may follow its options.
struct Node {
  std::string words;
  // The options that want a value: its choices, "FILE" for the name of a file,
  // or nothing for free text.
  std::map<std::string, std::string> values;
};

// Keyed by the command's words: "", "close", "close session".
using Tree = std::map<std::string, Node>;

void AddOptions(const CLI::App& app, Node* node) {
  for (const CLI::Option* option : app.get_options()) {
    std::vector<std::string> names;
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    const std::string type = option->get_type_name();
    std::string choices;
    if (type.find('|') != std::string::npos) {
      choices = type;
      std::replace(choices.begin(), choices.end(), '|', ' ');
    } else if (type == "FILE") {
      choices = type;
    }
    if (option->get_positional()) {
      // Only what is one of a few words can be completed.
      if (!choices.empty()) node->words += choices + " ";
      continue;
    }
    for (const std::string& name : names) {
      node->words += name + " ";
      if (option->get_expected_max() > 0) node->values[name] = choices;
    }
  }
}

void AddCommand(const CLI::App& app, const std::string& path, Tree* tree) {
  Node& node = (*tree)[path];
  for (const CLI::App* sub : app.get_subcommands({})) {
    node.words += sub->get_name() + " ";
    AddCommand(*sub,
               path.empty() ? sub->get_name() : path + " " + sub->get_name(),
               tree);
  }
  // The options of the program are known to every command.
  for (const CLI::App* known = &app; known != nullptr;
       known = known->get_parent()) {
    AddOptions(*known, &node);
  }
}

// Both shells run the same body: it reads `line`, the words before the one that
// is completed, and sets `choices`, or `files` to 1.
// In zsh `path` and `words` are not free to use.
void PrintBody(const Tree& tree) {
  std::string with_value;
  for (const auto& [path, node] : tree) {
    for (const auto& [option, choices] : node.values) {
      if (with_value.find("'" + option + "'") != std::string::npos) continue;
      with_value += (with_value.empty() ? "'" : "|'") + option + "'";
    }
  }
  // The value of an option is no command, whatever it reads.
  std::cout << "  local command= previous= word choices= files=0\n"
               "  for word in \"${line[@]}\"; do\n"
               "    case \"$previous\" in\n"
               "      "
            << with_value
            << ") previous= && continue ;;\n"
               "    esac\n"
               "    previous=$word\n"
               "    case \"${command:+$command }$word\" in\n";
  for (const auto& [path, node] : tree) {
    if (!path.empty())
      std::cout << "      '" << path << "') command='" << path << "' ;;\n";
  }
  std::cout << "    esac\n"
               "  done\n"
               "  case \"$command:$previous\" in\n";
  for (const auto& [path, node] : tree) {
    for (const auto& [option, choices] : node.values) {
      std::cout << "    '" << path << ":" << option << "') ";
      if (choices == "FILE") {
        std::cout << "files=1";
      } else {
        std::cout << "choices='" << choices << "'";
      }
      std::cout << " ;;\n";
    }
  }
  for (const auto& [path, node] : tree) {
    std::cout << "    '" << path << "':*) choices='" << node.words << "' ;;\n";
  }
  std::cout << "  esac\n";
}

void PrintBash(const Tree& tree) {
  std::cout << "# bash completion for brokerctl: source <(brokerctl completion "
               "bash)\n"
               "_brokerctl() {\n"
               "  local line=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n"
               "  local current=${COMP_WORDS[COMP_CWORD]}\n";
  PrintBody(tree);
  std::cout << "  if ((files)); then\n"
               "    compopt -o filenames 2>/dev/null\n"
               "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
               "  else\n"
               "    COMPREPLY=($(compgen -W \"$choices\" -- \"$current\"))\n"
               "  fi\n"
               "}\n"
               "complete -F _brokerctl brokerctl\n";
}

void PrintZsh(const Tree& tree) {
  std::cout
      << "#compdef brokerctl\n"
         "# zsh completion for brokerctl: source <(brokerctl completion zsh)\n"
         "_brokerctl() {\n"
         "  local -a line=(\"${(@)words[2,CURRENT-1]}\")\n";
  PrintBody(tree);
  std::cout << "  if ((files)); then\n"
               "    _files\n"
               "  else\n"
               "    compadd -- ${=choices}\n"
               "  fi\n"
               "}\n"
               "if [[ $funcstack[1] == _brokerctl ]]; then\n"
               "  _brokerctl \"$@\"\n"
               "else\n"
               "  compdef _brokerctl brokerctl\n"
               "fi\n";
}

}  // namespace

void AddCompletion(CLI::App& app, Command& command) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand(
      "completion", "Prints the script with which a shell completes commands");
  SetChoices(completion->add_option("shell", *shell, "The shell")->required(),
             {"bash", "zsh"});
  completion->callback([&app, &command, shell] {
    command.action = [&app, shell] {
      Tree tree;
      AddCommand(app, "", &tree);
      if (*shell == "bash") {
        PrintBash(tree);
      } else {
        PrintZsh(tree);
      }
      return static_cast<int>(kOk);
    };
  });
}

}  // namespace brokerctl
