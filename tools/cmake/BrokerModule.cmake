# broker_module() and broker_test(): the only two ways a target is declared.
#
# DEPS is the single source of truth for layering: it links the module and is
# what tools/cmake/check_layers.cmake holds the #include lines against.

set_property(GLOBAL PROPERTY BROKER_MODULES "")

# broker_module(filter DEPS core LIBS protobuf::libprotobuf)
#   DEPS  modules of this project that this one may include, declared before it
#   LIBS  third-party libraries
#   UNITY  with BROKER_UNITY on, its files are compiled as few
function(broker_module name)
  cmake_parse_arguments(ARG "UNITY" "" "DEPS;LIBS" ${ARGN})
  file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.h")
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  list(TRANSFORM ARG_DEPS PREPEND "broker::" OUTPUT_VARIABLE deps)

  add_library(broker_${name} STATIC ${sources})
  add_library(broker::${name} ALIAS broker_${name})
  target_sources(broker_${name} PUBLIC FILE_SET HEADERS
                 BASE_DIRS "${PROJECT_SOURCE_DIR}" FILES ${headers})
  target_include_directories(broker_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_link_libraries(broker_${name} PUBLIC ${deps} ${ARG_LIBS})
  set_target_properties(broker_${name} PROPERTIES
                        LINKER_LANGUAGE CXX VERIFY_INTERFACE_HEADER_SETS ON)
  if(ARG_UNITY AND BROKER_UNITY)
    set_target_properties(broker_${name} PROPERTIES UNITY_BUILD ON)
  endif()

  string(REPLACE ";" "," dep_list "${ARG_DEPS}")
  set_property(GLOBAL APPEND PROPERTY BROKER_MODULES "${name}=${dep_list}")
endfunction()

# What the tsan preset builds: the tests without the label "grpc".
add_custom_target(tests_without_grpc)

# What broker_test() and broker_fuzz() have in common.
function(broker_test_properties test target label timeout)
  if(NOT timeout)
    set(timeout 60)
  endif()
  set_tests_properties(${test} PROPERTIES TIMEOUT ${timeout} LABELS "${label}")
  if(NOT label STREQUAL "grpc")
    add_dependencies(tests_without_grpc ${target})
  endif()
endfunction()

# broker_test(filter/compiler_test DEPS filter) builds tests/filter/compiler_test.cc.
#   LABEL    "grpc" for what links gRPC: keeps it out of the tsan preset
#   TIMEOUT  seconds, 60 unless given
function(broker_test path)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "DEPS;LIBS" ${ARGN})
  string(REPLACE "/" "_" target "${path}")
  list(TRANSFORM ARG_DEPS PREPEND "broker::" OUTPUT_VARIABLE deps)
  add_executable(${target} "${CMAKE_CURRENT_SOURCE_DIR}/${path}.cc")
  target_link_libraries(${target} PRIVATE ${deps} ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${path} COMMAND ${target})
  broker_test_properties(${path} ${target} "${ARG_LABEL}" "${ARG_TIMEOUT}")
endfunction()

# broker_fuzz(filter_text DEPS filter) builds tests/fuzz/filter_text_fuzz.cc. It
# replays tests/fuzz/filter_text_corpus/ as a test; with BROKER_FUZZ on (Clang)
# it is a libFuzzer binary.
#   SOURCES, OVERLAY  files of a module that are compiled into it, with headers
#                     under OVERLAY in the place of those that they include
function(broker_fuzz name)
  cmake_parse_arguments(ARG "" "LABEL;OVERLAY" "DEPS;LIBS;SOURCES" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND "broker::" OUTPUT_VARIABLE deps)
  add_executable(${name}_fuzz "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}_fuzz.cc" ${ARG_SOURCES})
  target_link_libraries(${name}_fuzz PRIVATE ${deps} ${ARG_LIBS})
  if(ARG_OVERLAY)
    target_include_directories(${name}_fuzz BEFORE PRIVATE "${ARG_OVERLAY}")
  endif()
  if(BROKER_FUZZ)
    target_compile_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name}_fuzz PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/replay_main.cc")
  endif()
  # -runs=0: libFuzzer replays the corpus and stops; the replay ignores it.
  add_test(NAME fuzz/${name}_replay
           COMMAND ${name}_fuzz -runs=0 "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}_corpus")
  broker_test_properties(fuzz/${name}_replay ${name}_fuzz "${ARG_LABEL}" "")
endfunction()

# Call once, after every module: registers style/layers and style/format.
function(broker_style_tests)
  get_property(modules GLOBAL PROPERTY BROKER_MODULES)
  string(REPLACE ";" "\n" text "${modules}")
  file(WRITE "${PROJECT_BINARY_DIR}/layers.txt" "${text}\n")
  add_test(NAME style/layers
           COMMAND ${CMAKE_COMMAND} -D ROOT=${PROJECT_SOURCE_DIR}
                   -D LAYERS=${PROJECT_BINARY_DIR}/layers.txt
                   -P ${PROJECT_SOURCE_DIR}/tools/cmake/check_layers.cmake)

  # Other versions of clang-format disagree, so no other is asked.
  find_program(CLANG_FORMAT_14 clang-format-14)
  if(CLANG_FORMAT_14)
    foreach(dir broker client_stubs protos tests tools)
      foreach(extension h cc proto)
        list(APPEND patterns "${PROJECT_SOURCE_DIR}/${dir}/*.${extension}")
      endforeach()
    endforeach()
    file(GLOB_RECURSE files CONFIGURE_DEPENDS ${patterns})
    add_test(NAME style/format COMMAND ${CLANG_FORMAT_14} --dry-run -Werror ${files})
  endif()
endfunction()
