/*
 * fuzz_main.c - runs a fuzz target on files, without a fuzzer.
 *
 *     fuzz_link FILE...
 *     fuzz_link -r COUNT [SEED]     on COUNT inputs made up from a seed
 *
 * Each input has a process of its own, so that one that kills it is named.
 */
#include "compat.h"
#include "util.h"

#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_BYTES_MAX (64 << 10)
#define MADE_BYTES_MAX 2000
#define SECONDS_MAX 60

static int inputs, failures;

static void run(const char *name, const uint8_t *data, size_t len)
{
	int status = 0;

	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		alarm(SECONDS_MAX);
		uint8_t *copy = malloc(len ? len : 1); /* exact */
		if (!copy)
			abort();
		memcpy(copy, data, len);
		int result = LLVMFuzzerTestOneInput(copy, len);
		free(copy);
		exit(result);
	}
	inputs++;
	if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	failures++;
	fprintf(stderr, "FAILED: %s\n", name);
}

static void run_file(const char *path)
{
	static uint8_t data[INPUT_BYTES_MAX];
	FILE *file = fopen(path, "rb");

	if (!file) {
		fprintf(stderr, "cannot read %s\n", path);
		failures++;
		return;
	}
	size_t len = fread(data, 1, sizeof(data), file);
	fclose(file);
	run(path, data, len);
}

static void run_made(uint64_t seed)
{
	struct prng prng = {seed};
	uint8_t data[MADE_BYTES_MAX];
	char name[40];
	size_t len = prng_below(&prng, sizeof(data));

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)prng_next(&prng);
	snprintf(name, sizeof(name), "-r 1 %" PRIu64, seed);
	run(name, data, len);
}

int main(int argc, char **argv)
{
	uint64_t count = 0, seed = 1;

	if (argc > 2 && strcmp(argv[1], "-r") == 0) {
		bool good = parse_u64(argv[2], strlen(argv[2]), &count);
		if (good && argc > 3)
			good = parse_u64(argv[3], strlen(argv[3]), &seed);
		if (!good)
			return EXIT_FAILURE;
		for (uint64_t i = 0; i < count; i++)
			run_made(seed + i);
	} else {
		for (int i = 1; i < argc; i++)
			run_file(argv[i]);
	}
	printf("%d inputs, %d failed\n", inputs, failures);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
