package a2agrpc.cancellable;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import com.lf.a2a.v1.AgentCard;
import com.lf.a2a.v1.AgentInterface;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.stream.Collectors;

/** Agent cards: the JSON form of the generated AgentCard, at a well-known path. */
final class Cards {
    private static final String PATH = "/.well-known/agent-card.json";

    private Cards() {}

    /** The card that a site serves. IOException, naming the URL, if it serves none. */
    static AgentCard fetch(URI site) throws IOException, InterruptedException {
        URI url = URI.create(site.toString().replaceFirst("/+$", "") + PATH);
        HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(10)).build();
        HttpResponse<String> response;
        try {
            response = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        } catch (ConnectException error) { // comes without a message
            throw new IOException(url + ": cannot connect", error);
        } catch (IOException error) {
            throw new IOException(url + ": " + error.getMessage(), error);
        }
        if (response.statusCode() != 200) {
            throw new IOException(url + ": HTTP status " + response.statusCode());
        }
        AgentCard.Builder card = AgentCard.newBuilder();
        try {
            JsonFormat.parser().ignoringUnknownFields().merge(response.body(), card);
        } catch (InvalidProtocolBufferException error) {
            throw new IOException(url + ": not an agent card: " + error.getMessage(), error);
        }
        return card.build();
    }

    /** The first gRPC interface for A2A 1.0: cards list them in the agent's order of preference. */
    static AgentInterface grpcInterface(AgentCard card, URI site) throws IOException {
        for (AgentInterface candidate : card.getSupportedInterfacesList()) {
            if (candidate.getProtocolBinding().equals("GRPC") && candidate.getProtocolVersion().equals("1.0")) {
                return candidate;
            }
        }
        String offers = card.getSupportedInterfacesList().stream()
                .map(offer -> offer.getProtocolBinding() + " " + offer.getProtocolVersion() + " at " + offer.getUrl())
                .collect(Collectors.joining(", "));
        throw new IOException("the card at " + site + " has no GRPC interface for A2A 1.0; it has "
                + (offers.isEmpty() ? "none" : offers));
    }
}
