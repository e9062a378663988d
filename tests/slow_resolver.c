/* Stands before the C library's getaddrinfo() in a program that a test starts.

   Who asks for a name that begins with "slow" is reported by a byte into the descriptor $ASKED, and
   gets the answer for 127.0.0.1 once a byte came out of the descriptor $ANSWER. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int function(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    function *real = (function *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (host && strncmp(host, "slow", 4) == 0 && !(hints->ai_flags & AI_NUMERICHOST)) {
        char byte = 0;
        if (write(atoi(getenv("ASKED")), &byte, 1) != 1
            || read(atoi(getenv("ANSWER")), &byte, 1) != 1)
            return EAI_FAIL;
        host = "127.0.0.1";
    }
    return real(host, service, hints, found);
}
