package a2agrpc.cancellable;

import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.lf.a2a.v1.A2AServiceGrpc;
import com.lf.a2a.v1.A2AServiceGrpc.A2AServiceBlockingStub;
import com.lf.a2a.v1.AgentInterface;
import com.lf.a2a.v1.CancelTaskRequest;
import com.lf.a2a.v1.GetTaskRequest;
import com.lf.a2a.v1.Message;
import com.lf.a2a.v1.Part;
import com.lf.a2a.v1.Role;
import com.lf.a2a.v1.SendMessageConfiguration;
import com.lf.a2a.v1.SendMessageRequest;
import com.lf.a2a.v1.SendMessageResponse;
import com.lf.a2a.v1.StreamResponse;
import com.lf.a2a.v1.SubscribeToTaskRequest;
import com.lf.a2a.v1.Task;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.net.URI;
import java.util.Iterator;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * A connection to one interface of an agent. What every call needs is put in here, once: the protocol's version as
 * metadata, the interface's tenant in the request. Failed calls throw StatusRuntimeException.
 */
final class Agent implements AutoCloseable {
    private static final Metadata.Key<String> VERSION = Metadata.Key.of("a2a-version", Metadata.ASCII_STRING_MARSHALLER);
    private static final int UNARY_SECONDS = 30;

    private final ManagedChannel channel;
    private final A2AServiceBlockingStub stub;
    private final String tenant;

    private Agent(ManagedChannel channel, String tenant) {
        Metadata metadata = new Metadata();
        metadata.put(VERSION, "1.0");
        this.channel = channel;
        this.tenant = tenant;
        stub = A2AServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
    }

    /** Connects with the first call: plaintext to this machine, TLS to any other. */
    static Agent connect(AgentInterface where) throws IOException {
        String host = host(where.getUrl());
        boolean local = host.matches("localhost|127(\\.\\d+){3}|\\[::1]");
        ChannelCredentials credentials = local ? InsecureChannelCredentials.create() : TlsChannelCredentials.create();
        return new Agent(Grpc.newChannelBuilder(where.getUrl(), credentials).build(), where.getTenant());
    }

    private static String host(String address) throws IOException {
        try {
            URI parsed = URI.create("//" + address);
            if (parsed.getHost() != null && parsed.getPort() > 0 && parsed.getPath().isEmpty()) {
                return parsed.getHost();
            }
        } catch (IllegalArgumentException error) {
            // said below
        }
        throw new IOException("the card's gRPC address is '" + address + "'; it must be HOST:PORT");
    }

    /** A new task, at once: it goes on working while we do what we like. */
    Task start(int steps, double stepSeconds) throws IOException {
        Struct pace = Struct.newBuilder()
                .putAllFields(Map.of("steps", number(steps), "step_seconds", number(stepSeconds)))
                .build();
        Message message = Message.newBuilder()
                .setMessageId(UUID.randomUUID().toString())
                .setRole(Role.ROLE_USER)
                .addParts(Part.newBuilder().setData(Value.newBuilder().setStructValue(pace)))
                .build();
        SendMessageResponse response = unary().sendMessage(SendMessageRequest.newBuilder()
                .setTenant(tenant)
                .setMessage(message)
                .setConfiguration(SendMessageConfiguration.newBuilder().setReturnImmediately(true))
                .build());
        if (!response.hasTask()) {
            throw new IOException("the agent answers with a bare message, not with a task");
        }
        return response.getTask();
    }

    /** The task as it is now, then its updates as they come. Without a deadline: a task may take days. */
    Iterator<StreamResponse> subscribe(String id) {
        return stub.subscribeToTask(SubscribeToTaskRequest.newBuilder().setTenant(tenant).setId(id).build());
    }

    Task get(String id) {
        return unary().getTask(GetTaskRequest.newBuilder().setTenant(tenant).setId(id).build());
    }

    Task cancel(String id) {
        return unary().cancelTask(CancelTaskRequest.newBuilder().setTenant(tenant).setId(id).build());
    }

    @Override
    public void close() {
        channel.shutdownNow();
    }

    private A2AServiceBlockingStub unary() {
        return stub.withDeadlineAfter(UNARY_SECONDS, TimeUnit.SECONDS);
    }

    private static Value number(double value) {
        return Value.newBuilder().setNumberValue(value).build();
    }
}
