# Installs the client into an empty prefix, then configures, builds and runs a
# stranger's project against it. Set: BUILD_DIR, SOURCE_DIR, WORK_DIR, COMPILER,
# BUILD_TYPE, FLAGS, LAUNCHER, GENERATOR.

cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${command}: ${result}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --component client --prefix ${WORK_DIR}/prefix)

# What is installed names nothing of the machine that built it.
file(GLOB_RECURSE files ${WORK_DIR}/prefix/*.cmake ${WORK_DIR}/prefix/*.h)
foreach(file IN LISTS files)
  file(STRINGS ${file} lines)
  if(lines MATCHES "${SOURCE_DIR}|${BUILD_DIR}" OR lines MATCHES "#include \"(broker|google/rpc)/")
    message(FATAL_ERROR "${file} names ${CMAKE_MATCH_0}")
  endif()
endforeach()

run(${CMAKE_COMMAND} -S ${SOURCE_DIR}/tests/install/stranger -B ${WORK_DIR}/build -G ${GENERATOR}
    -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix -D CMAKE_CXX_COMPILER=${COMPILER}
    -D CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -D CMAKE_BUILD_TYPE=${BUILD_TYPE}
    -D "CMAKE_CXX_FLAGS=${FLAGS}")
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build)
run(${WORK_DIR}/build/stranger)
