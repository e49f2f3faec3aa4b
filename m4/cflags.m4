# MC_TRY_CFLAG(FLAG, VARIABLE)
# Append FLAG to VARIABLE when the compiler takes it without a complaint.
AC_DEFUN([MC_TRY_CFLAG], [
  AC_MSG_CHECKING([whether $CC takes $1])
  mc_saved_cflags=$CFLAGS
  CFLAGS="$CFLAGS -Werror $1"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes]); $2="$$2 $1"; mc_took_flag=yes],
    [AC_MSG_RESULT([no]); mc_took_flag=no])
  CFLAGS=$mc_saved_cflags
])
