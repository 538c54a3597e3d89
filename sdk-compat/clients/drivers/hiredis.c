/* hiredis. It takes no URL and does not log in: AUTH is sent by hand. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64

static redisContext *client, *listener;
static char host[256], user[256], password[256];
static int port, queued;

static const char *kind(const redisReply *reply) {
    static const char *const kinds[] = {"", "string", "array", "integer", "nil", "status", "error"};
    return reply->type < 7 ? kinds[reply->type] : "another";
}

static void answer(redisContext *on, redisReply *reply) {
    if (reply == NULL) {
        printf("error\t%s\n", on->errstr);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        printf("error\t%s\n", reply->str);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        printf("ok\t%s\t%lld\n", kind(reply), reply->integer);
    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3) {
        printf("ok\t%s\t%s\n", kind(reply), reply->element[2]->str ? reply->element[2]->str : "");
    } else {
        printf("ok\t%s\t%s\n", kind(reply), reply->str ? reply->str : "");
    }
    if (reply != NULL) freeReplyObject(reply);
}

static redisContext *connected(void) {
    struct timeval limit = {5, 0};
    redisContext *made = redisConnectWithTimeout(host, port, limit);
    if (made == NULL || made->err) return made;
    redisSetTimeout(made, limit);
    if (password[0]) {
        redisReply *reply = redisCommand(made, "AUTH %s %s", user, password);
        if (reply != NULL) freeReplyObject(reply);
    }
    return made;
}

static void opened(const char *url, const char *protocol) {
    if (strcmp(protocol, "3") == 0) {
        printf("error\tRESP2 only\n");
        return;
    }
    user[0] = password[0] = 0;
    if (sscanf(url, "redis://%255[^:@]:%255[^@]@%255[^:]:%d", user, password, host, &port) != 4) {
        user[0] = password[0] = 0;
        const char *at = strchr(url, '@');
        sscanf(at ? at + 1 : url + 8, "%255[^:]:%d", host, &port);
    }
    client = connected();
    answer(client, redisCommand(client, "PING"));
}

static void counted(void) {
    redisReply *reply = NULL;
    int count = 0;
    while (queued > 0) {
        queued--;
        if (redisGetReply(client, (void **)&reply) != REDIS_OK) {
            printf("error\t%s\n", client->errstr);
            return;
        }
        count++;
        if (queued > 0) freeReplyObject(reply);
    }
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) count = (int)reply->elements;
    freeReplyObject(reply);
    printf("ok\tinteger\t%d\n", count);
}

int main(void) {
    static char line[4096], queue[MOST][4096];
    int waiting = 0;
    while (fgets(line, sizeof line, stdin)) {
        const char *words[MOST];
        int count = 0;
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "queue\t", 6) == 0 && waiting < MOST) {
            snprintf(queue[waiting++], sizeof queue[0], "%s", line + 6);
            printf("ok\tinteger\t%d\n", waiting);
            fflush(stdout);
            continue;
        }
        for (char *word = strtok(line, "\t"); word && count < MOST; word = strtok(NULL, "\t")) words[count++] = word;
        if (strcmp(words[0], "open") == 0) {
            opened(words[1], words[2]);
        } else if (strcmp(words[0], "call") == 0) {
            answer(client, redisCommandArgv(client, count - 1, words + 1, NULL));
        } else if (strcmp(words[0], "listen") == 0) {
            listener = connected();
            answer(listener, redisCommand(listener, "SUBSCRIBE %s", words[1]));
        } else if (strcmp(words[0], "message") == 0) {
            redisReply *reply = NULL;
            redisGetReply(listener, (void **)&reply);
            answer(listener, reply);
        } else {
            int multi = strcmp(words[0], "multi") == 0;
            if (multi) redisAppendCommand(client, "MULTI");
            queued = waiting + 2 * multi;
            for (int i = 0; i < waiting; i++) {
                int parts = 0;
                for (char *word = strtok(queue[i], "\t"); word; word = strtok(NULL, "\t")) words[parts++] = word;
                redisAppendCommandArgv(client, parts, words, NULL);
            }
            if (multi) redisAppendCommand(client, "EXEC");
            waiting = 0;
            counted();
        }
        fflush(stdout);
    }
    return 0;
}
