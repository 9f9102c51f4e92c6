/* What a shared library of ours consists of is in meson.build; this is the source file that its linker wants to see. */
typedef int library_has_no_code_of_its_own;
