package peer;

import io.a2a.A2A;
import io.a2a.client.ClientEvent;
import io.a2a.client.MessageEvent;
import io.a2a.client.TaskEvent;
import io.a2a.client.config.ClientConfig;
import io.a2a.client.transport.grpc.GrpcTransport;
import io.a2a.client.transport.grpc.GrpcTransportConfigBuilder;
import io.a2a.jsonrpc.common.json.JsonUtil;
import io.a2a.spec.A2AError;
import io.a2a.spec.AgentCard;
import io.a2a.spec.DataPart;
import io.a2a.spec.ListTasksParams;
import io.a2a.spec.Message;
import io.a2a.spec.TaskIdParams;
import io.a2a.spec.TaskQueryParams;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * Plays the scenarios of ../README.md with the client of the Java SDK, as far as it gets: the stubs of this release are
 * those of a draft, the service is `a2a.v1.A2AService`, and so the first call of every scenario fails.
 */
final class Client {
    private static final Logger GRPC = Logger.getLogger("io.grpc");
    private static final int SCENARIO_SECONDS = 30;

    /** What the first message of a scenario asks for. `errors` begins with other calls, `card` makes none. */
    private static final Map<String, List<Map<String, Object>>> FIRST = Map.ofEntries(
            Map.entry("send", List.of(step("status", "half way"), step("artifact", Map.of("id", "a-1", "text", "done")))),
            Map.entry("message", List.of(step("message", "Good morning"))),
            Map.entry("start", List.of(step("artifact", Map.of("text", "draft")), step("input", "Which date?"))),
            Map.entry("stream", List.of(step("status", "half way"), step("chunks", Map.of("id", "text", "count", 3)),
                    step("complete", "all done"))),
            Map.entry("turns", List.of(step("input", "Which date?"), step("artifact", Map.of("text", "booked")))),
            Map.entry("subscribe", List.of(step("input", "Go on?"), step("status", "going on"),
                    step("artifact", Map.of("text", "x")))),
            Map.entry("cancel", List.of(step("sleep", 600))),
            Map.entry("leave", List.of(step("sleep", 600))),
            Map.entry("pages", List.of(step("artifact", Map.of("text", "result 0")))),
            Map.entry("tenants", List.of(step("complete", "ours"))),
            Map.entry("extensions", List.of(step("complete", "done"))));

    private final AgentCard card;

    private Client(AgentCard card) {
        this.card = card;
    }

    public static void main(String[] arguments) {
        GRPC.setLevel(Level.OFF);
        try {
            Client client = new Client(A2A.getAgentCard(arguments[0]));
            for (String scenario : List.of(arguments).subList(1, arguments.length)) {
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("scenario", scenario);
                line.putAll(client.play(scenario));
                System.out.println(JsonUtil.toJson(line));
            }
            System.exit(0); // the SDK's executors and channels would hold the program
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private Map<String, Object> play(String scenario) throws Exception {
        return switch (scenario) {
            case "card" -> Map.of("seen", card);
            case "errors" -> Map.of("seen", errors());
            default -> firstCall(scenario);
        };
    }

    private Map<String, Object> firstCall(String scenario) throws Exception {
        if (!FIRST.containsKey(scenario)) {
            throw new IllegalArgumentException("no scenario '" + scenario + "'");
        }
        boolean streaming = List.of("stream", "turns").contains(scenario);
        boolean polling = List.of("start", "cancel", "leave").contains(scenario);
        ClientEvent answer;
        try {
            answer = send(message(FIRST.get(scenario)), streaming, polling);
        } catch (ExecutionException error) {
            return Map.of("failed", described(error.getCause()));
        }
        if (scenario.equals("send") && answer instanceof TaskEvent event) {
            return Map.of("seen", Map.of("task", event.getTask()));
        }
        if (scenario.equals("message") && answer instanceof MessageEvent event) {
            return Map.of("seen", Map.of("message", event.getMessage()));
        }
        throw new IllegalStateException("the first call of '" + scenario + "' succeeds now: write what comes after it");
    }

    /** Those errors of the scenario that need no task. */
    private Map<String, Object> errors() throws Exception {
        Map<String, Object> seen = new LinkedHashMap<>();
        // Streaming: set not to stream, the SDK refuses to subscribe by itself.
        try (io.a2a.client.Client client = client(true, false)) {
            seen.put("get_unknown", failure(ended -> {
                client.getTask(new TaskQueryParams("t-unknown"));
                ended.complete(null);
            }));
            seen.put("cancel_unknown", failure(ended -> {
                client.cancelTask(new TaskIdParams("t-unknown"));
                ended.complete(null);
            }));
            seen.put("subscribe_unknown", failure(ended -> client.subscribeToTask(new TaskIdParams("t-unknown"),
                    List.of((event, of) -> ended.complete(event)), ended::completeExceptionally)));
            seen.put("no_parts", failure(ended -> {
                send(Message.builder().messageId(id()).role(Message.Role.ROLE_USER).parts(List.of()).build(), false, false);
                ended.complete(null);
            }));
            seen.put("page_size", failure(ended -> {
                client.listTasks(ListTasksParams.builder().pageSize(101).build());
                ended.complete(null);
            }));
            seen.put("bad_script", failure(ended -> {
                send(message(List.of(step("nonsense", 1))), false, false);
                ended.complete(null);
            }));
        }
        return seen;
    }

    /** The first thing that comes back. ExecutionException with the SDK's error if that is one. */
    private ClientEvent send(Message message, boolean streaming, boolean polling) throws Exception {
        try (io.a2a.client.Client client = client(streaming, polling)) {
            return await(ended -> client.sendMessage(message, List.of((event, of) -> ended.complete(event)),
                    ended::completeExceptionally));
        }
    }

    private io.a2a.client.Client client(boolean streaming, boolean polling) throws Exception {
        return io.a2a.client.Client.builder(card)
                .withTransport(GrpcTransport.class, new GrpcTransportConfigBuilder().channelFactory(
                        target -> Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).build()))
                .clientConfig(ClientConfig.builder().setStreaming(streaming).setPolling(polling).build())
                .build();
    }

    private static Map<String, Object> failure(Call call) throws Exception {
        try {
            await(call);
            return Map.of("type", "");
        } catch (ExecutionException error) {
            return described(error.getCause() instanceof ExecutionException inner ? inner.getCause() : error.getCause());
        }
    }

    private static ClientEvent await(Call call) throws InterruptedException, ExecutionException, TimeoutException {
        CompletableFuture<ClientEvent> ended = new CompletableFuture<>();
        try {
            call.start(ended);
        } catch (Exception error) {
            ended.completeExceptionally(error);
        }
        return ended.get(SCENARIO_SECONDS, TimeUnit.SECONDS);
    }

    /** The SDK wraps the error that it made of a status; the wrapper has the text, the error in it the name. */
    private static Map<String, Object> described(Throwable error) {
        Map<String, Object> described = new LinkedHashMap<>();
        Throwable named = error.getCause() instanceof A2AError cause ? cause : error;
        described.put("type", named.getClass().getSimpleName());
        described.put("text", String.valueOf(error.getMessage()));
        Status.Code code = Status.fromThrowable(error).getCode(); // UNKNOWN where no cause is a gRPC status
        if (code != Status.Code.UNKNOWN) {
            described.put("code", code.name());
        }
        return described;
    }

    private static Message message(List<Map<String, Object>> script) {
        return Message.builder().messageId(id()).role(Message.Role.ROLE_USER)
                .parts(List.of(new DataPart(Map.of("script", script)))).build();
    }

    private static Map<String, Object> step(String name, Object value) {
        return Map.of(name, value);
    }

    private static String id() {
        return UUID.randomUUID().toString();
    }

    /** A call that answers by a future: the SDK throws some of its errors and hands others to a callback. */
    private interface Call {
        void start(CompletableFuture<ClientEvent> ended) throws Exception;
    }
}
