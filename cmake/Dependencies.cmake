# Finds every package the project needs, and says which Debian package brings a missing one.

function(dinm_missing what package)
  message(FATAL_ERROR "${what} was not found. On Debian: apt-get install ${package}")
endfunction()

find_package(PkgConfig QUIET)
if(NOT PkgConfig_FOUND)
  dinm_missing("pkg-config" pkg-config)
endif()

find_package(MPI 3.1 QUIET COMPONENTS C)
if(NOT MPI_C_FOUND)
  dinm_missing("An MPI 3.1 library" "openmpi-bin libopenmpi-dev")
endif()

set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 1.10.5 QUIET COMPONENTS C HL)
if(NOT HDF5_FOUND OR NOT HDF5_IS_PARALLEL)
  dinm_missing("A parallel HDF5 (1.10.5 or newer)" libhdf5-openmpi-dev)
endif()
add_library(dinm_hdf5 INTERFACE)
add_library(dinm::hdf5 ALIAS dinm_hdf5)
target_link_libraries(dinm_hdf5 INTERFACE ${HDF5_C_HL_LIBRARIES} ${HDF5_C_LIBRARIES} MPI::MPI_C)
target_include_directories(dinm_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})

find_package(OpenMP QUIET COMPONENTS C)
if(NOT OpenMP_C_FOUND)
  if(CMAKE_C_COMPILER_ID MATCHES Clang)
    dinm_missing("OpenMP for clang" libomp-dev)
  endif()
  dinm_missing("OpenMP" gcc)
endif()

# One pkg-config module as the target dinm::<name>.
function(dinm_module name module what package)
  pkg_check_modules(${name} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${name}_FOUND)
    dinm_missing("${what}" ${package})
  endif()
  add_library(dinm::${name} ALIAS PkgConfig::${name})
endfunction()

dinm_module(blas openblas "OpenBLAS" libopenblas-openmp-dev)
# Debian's SLEEF brings no pkg-config file.
find_path(SLEEF_INCLUDE_DIR sleef.h)
find_library(SLEEF_LIBRARY sleef)
if(NOT SLEEF_INCLUDE_DIR OR NOT SLEEF_LIBRARY)
  dinm_missing("SLEEF (vector mathematics)" libsleef-dev)
endif()
add_library(dinm_sleef INTERFACE)
add_library(dinm::sleef ALIAS dinm_sleef)
target_link_libraries(dinm_sleef INTERFACE ${SLEEF_LIBRARY})
target_include_directories(dinm_sleef SYSTEM INTERFACE ${SLEEF_INCLUDE_DIR})

dinm_module(cjson libcjson "cJSON" libcjson-dev)
dinm_module(pcre2 "libpcre2-8>=10.40" "PCRE2 (10.40 or newer)" libpcre2-dev)
dinm_module(xxhash libxxhash "xxHash" libxxhash-dev)
dinm_module(utf8proc libutf8proc "utf8proc" libutf8proc-dev)

# Optional: products in bf16 (model.compute). Its own package file fails hard where the headers of
# OpenCL are missing, which we do not use.
option(DINM_ONEDNN "Products in bf16 through oneDNN, if it is there" ON)
if(DINM_ONEDNN)
  find_library(ONEDNN_LIBRARY dnnl)
  find_path(ONEDNN_INCLUDE_DIR dnnl.h)
  mark_as_advanced(ONEDNN_LIBRARY ONEDNN_INCLUDE_DIR)
  if(ONEDNN_LIBRARY AND ONEDNN_INCLUDE_DIR)
    add_library(dinm_onednn INTERFACE)
    add_library(dinm::onednn ALIAS dinm_onednn)
    target_link_libraries(dinm_onednn INTERFACE ${ONEDNN_LIBRARY})
    target_include_directories(dinm_onednn SYSTEM INTERFACE ${ONEDNN_INCLUDE_DIR})
    message(STATUS "oneDNN: ${ONEDNN_LIBRARY} (model.compute=bf16)")
  else()
    set(DINM_ONEDNN OFF)
    message(STATUS "oneDNN was not found: model.compute=bf16 needs a processor with AMX. On Debian: "
                   "apt-get install libdnnl-dev")
  endif()
endif()
