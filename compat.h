/*
 * compat.h - the first include of every file.
 *
 * Owns: the configuration header, the C library headers that every layer may
 * use, limits that a platform may lack, and the list of functions nobody may
 * call. It is the only file besides net.c where #if is used.
 *
 * Must not know: anything of this program.
 *
 * Layer 0. Covered by: t/tidy.t (first include everywhere, banned calls).
 */
#ifndef COMPAT_H
#define COMPAT_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h> /* struct iovec: a type, not I/O */
#include <time.h>

/* Some systems (the Hurd) have no fixed limit; POSIX promises 16, and every
 * system that runs libevent takes 1024. */
#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

/* Without a configuration header (a file compiled by hand). */
/* madvise: make pages resident by one call. Linux 5.14, whose number older headers
 * lack; older kernels refuse it, and other systems any number below 0. */
#ifdef __linux__
#define COMPAT_MADV_POPULATE 23
#else
#define COMPAT_MADV_POPULATE (-1)
#endif

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "2.0.0"
#endif

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Calls with no bound, no re-entrancy or a hidden clock: a compile error. */
#define BANNED(func) sorry_##func##_is_a_banned_function
#undef strcpy
#define strcpy(d, s) BANNED(strcpy)
#undef strcat
#define strcat(d, s) BANNED(strcat)
#undef strncpy
#define strncpy(d, s, n) BANNED(strncpy)
#undef strncat
#define strncat(d, s, n) BANNED(strncat)
#undef sprintf
#define sprintf(...) BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf)
#undef strtok
#define strtok(s, d) BANNED(strtok)
#undef gmtime
#define gmtime(t) BANNED(gmtime)
#undef localtime
#define localtime(t) BANNED(localtime)
#undef ctime
#define ctime(t) BANNED(ctime)
#undef atoi
#define atoi(s) BANNED(atoi)
#undef rand
#define rand() BANNED(rand)

#endif
