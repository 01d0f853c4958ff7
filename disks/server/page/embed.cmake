# cmake -D OUTPUT=FILE.cpp -P embed.cmake: the page's files beside this script as constants, for http_page.h.
get_filename_component(folder ${CMAKE_SCRIPT_MODE_FILE} DIRECTORY)
set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(arrays "")
set(entries "")
file(GLOB names RELATIVE ${folder} ${folder}/*.html ${folder}/*.css ${folder}/*.js)
list(SORT names)
foreach(name ${names})
  file(READ ${folder}/${name} bytes HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(MAKE_C_IDENTIFIER ${name} identifier)
  string(APPEND arrays "constexpr char ${identifier}[] = {${bytes}};\n")
  get_filename_component(extension ${name} LAST_EXT)
  string(SUBSTRING ${extension} 1 -1 extension)
  set(path "/${name}")
  if(name STREQUAL "index.html")
    set(path "/")
  endif()
  string(APPEND entries "    {\"${path}\", \"${type_${extension}}\", {${identifier}, sizeof ${identifier}}},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"disks/server/http_page.h\"

namespace lodge::server {

namespace {

${arrays}
constexpr PageFile kFiles[] = {
${entries}};

}  // namespace

std::span<const PageFile> page_files() {
    return kFiles;
}

}  // namespace lodge::server
")
